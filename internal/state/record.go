// SPDX-License-Identifier: Apache-2.0

package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validation"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// Record is what the operator did to an object that it shares with others, by
// field: "key:effect" for a taint of a Node, the field's name for a Service.
//
// That of a Service is an annotation of the Service, written in the same request as
// the field. Whoever may write it may write the fields as well. That of a Node is an
// object of its own (NodeRecord): a kubelet may write the annotations of its Node,
// and not its taints.
type Record map[string]RecordEntry

// RecordEntry is what the operator did to one field.
type RecordEntry struct {
	// Policy for which it was done.
	Policy string `json:"policy"`
	// Applied is the value that was written.
	Applied string `json:"applied"`
	// Original is the value that was there before; nil when there was none.
	Original *string `json:"original"`
}

// How long a record in an annotation may be, in bytes. One of all the fields of a Service
// takes less than 600. One that an earlier version kept on a Node takes 110 to 600 for each
// taint, of which a ControlPlaneNodeRecord has at most 256.
const (
	maxRecord     = 4 << 10
	maxNodeRecord = 48 << 10
)

// ServiceRecord returns the record that a Service carries, which is empty where it
// carries none. One that the operator cannot have written is an error: nothing that
// it says is believed, so that no field is set to what somebody made up.
func ServiceRecord(annotations map[string]string) (Record, error) {
	record, err := parseRecord(annotations[v1alpha1.AnnotationRecord], maxRecord)
	if err != nil {
		return Record{}, err
	}
	for _, field := range slices.Sorted(maps.Keys(record)) {
		entry := record[field]
		switch {
		case !slices.Contains(trafficFields, field):
			return Record{}, errors.New("it has a field that is no traffic policy")
		case entry.Policy == "" || len(entry.Policy) > 63:
			return Record{}, fmt.Errorf("%s was not set for a policy", field)
		case !admits(field, entry.Applied) || entry.Original != nil && !admits(field, *entry.Original):
			return Record{}, fmt.Errorf("%s cannot have the value", field)
		}
	}
	return record, nil
}

// annotationNoRoom stands in the cache for annotations that are not kept there.
const annotationNoRoom = "cpnp.dev/no-room-for-record"

// HasNoRoom says whether an object without a record has so many annotations that the
// API server would not take one more.
func HasNoRoom(annotations map[string]string) bool {
	if _, recorded := annotations[v1alpha1.AnnotationRecord]; recorded {
		return false
	}
	_, full := annotations[annotationNoRoom]
	size := 0
	for key, value := range annotations {
		size += len(key) + len(value)
	}
	return full || size > validation.TotalAnnotationSizeLimitB-maxRecord
}

// NodeAnnotationRecord returns the record that earlier versions kept in an annotation
// of a Node. A kubelet can write it: it counts only while it is being moved over
// (drift.Move).
func NodeAnnotationRecord(annotations map[string]string) Record {
	record, err := parseRecord(annotations[v1alpha1.AnnotationRecord], maxNodeRecord)
	if err != nil {
		return Record{}
	}
	return record
}

// shortRecord returns a record as the cache keeps it: of one that is too long, enough
// to tell that.
func shortRecord(text string, most int) string { return cut(text, most+1) }

func parseRecord(text string, most int) (Record, error) {
	if text == "" {
		return Record{}, nil
	}
	if len(text) > most {
		return nil, fmt.Errorf("a record has at most %d bytes", most)
	}
	record := Record{}
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		return nil, errors.New("it is no JSON object of records")
	}
	if record == nil {
		return Record{}, nil
	}
	return record, nil
}

// admits says whether a traffic policy of a Service can have the value
// (k8s.io/api/core/v1, ServiceSpec).
func admits(field, value string) bool {
	if field != "trafficDistribution" {
		return value == string(corev1.ServiceExternalTrafficPolicyCluster) || value == string(corev1.ServiceExternalTrafficPolicyLocal)
	}
	switch value {
	case corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone,
		corev1.ServiceTrafficDistributionPreferSameNode:
		return true
	}
	return false
}

// String returns the record as the annotation's value. Equal records give
// equal strings.
func (r Record) String() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("a record of strings is always JSON: %v", err))
	}
	return string(text)
}

// Mentions says whether anything was done for the policy.
func (r Record) Mentions(policy string) bool {
	for _, entry := range r {
		if entry.Policy == policy {
			return true
		}
	}
	return false
}
