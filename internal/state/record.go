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

// Record is the record of the operator's changes to an object with other writers, by field:
// "key:effect" for a taint of a Node, the name of the field for a Service.
//
// The record of a Service is an annotation of the Service, written in the same request as
// the field: a writer of the annotation may write the fields as well. The record of a Node
// is a separate object (NodeRecord): a kubelet may write the annotations of the Node, but
// not the taints.
type Record map[string]RecordEntry

// RecordEntry is the record of one field.
type RecordEntry struct {
	// Policy that called for the change.
	Policy string `json:"policy"`
	// Applied is the written value.
	Applied string `json:"applied"`
	// Original is the value before the change; nil if there was no value.
	Original *string `json:"original"`
}

// The longest records in an annotation, in bytes. A record of all fields of a Service
// takes less than 600. The record of a Node by an earlier version takes 110 to 600 for
// each taint, and a ControlPlaneNodeRecord has at most 256 taints.
const (
	maxRecord     = 4 << 10
	maxNodeRecord = 48 << 10
)

// ServiceRecord returns the record in the annotations of a Service, empty if there is none.
// A record that the operator cannot have written is an error, and no part of the record is
// used: otherwise a field could be set to an invented value.
func ServiceRecord(annotations map[string]string) (Record, error) {
	record, err := parseRecord(annotations[v1alpha1.AnnotationRecord], maxRecord)
	if err != nil {
		return Record{}, err
	}
	for _, field := range slices.Sorted(maps.Keys(record)) {
		entry := record[field]
		switch {
		case !slices.Contains(trafficFields, field):
			return Record{}, errors.New("the record has a field that is no traffic policy")
		case entry.Policy == "" || len(entry.Policy) > 63:
			return Record{}, fmt.Errorf("%s was not set for a policy", field)
		case !isAllowedValue(field, entry.Applied) || entry.Original != nil && !isAllowedValue(field, *entry.Original):
			return Record{}, fmt.Errorf("%s cannot have the value", field)
		}
	}
	return record, nil
}

// annotationNoRoom stands in the cache for annotations that are not cached.
const annotationNoRoom = "cpnp.dev/no-room-for-record"

// HasNoRoomForRecord says whether an object without a record has so many annotations
// that the API server would refuse the record.
func HasNoRoomForRecord(annotations map[string]string) bool {
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
// of a Node. A kubelet can write the annotation, so the record only counts while
// drift.Move moves the record to a ControlPlaneNodeRecord.
func NodeAnnotationRecord(annotations map[string]string) Record {
	record, err := parseRecord(annotations[v1alpha1.AnnotationRecord], maxNodeRecord)
	if err != nil {
		return Record{}
	}
	return record
}

// shortRecord returns a record in the form of the cache: of a record that is too long,
// only enough to tell the excess.
func shortRecord(text string, most int) string { return truncateText(text, most+1) }

func parseRecord(text string, most int) (Record, error) {
	if text == "" {
		return Record{}, nil
	}
	if len(text) > most {
		return nil, fmt.Errorf("the record has more than %d bytes", most)
	}
	record := Record{}
	if err := json.Unmarshal([]byte(text), &record); err != nil {
		return nil, errors.New("the record is no JSON object of entries")
	}
	if record == nil {
		return Record{}, nil
	}
	return record, nil
}

// isAllowedValue says whether a traffic policy of a Service can have the value
// (k8s.io/api/core/v1, ServiceSpec).
func isAllowedValue(field, value string) bool {
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

// String returns the record as the value of the annotation. Equal records give equal
// strings.
func (r Record) String() string {
	text, err := json.Marshal(r)
	if err != nil {
		panic(fmt.Sprintf("a record of strings is always JSON: %v", err))
	}
	return string(text)
}

// MentionsPolicy says whether a change was made for the policy.
func (r Record) MentionsPolicy(policy string) bool {
	for _, entry := range r {
		if entry.Policy == policy {
			return true
		}
	}
	return false
}
