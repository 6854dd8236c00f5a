// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// The APIServices that matter, by name, and the group whose version is not
// known beforehand. The API server registers those of CRDs by itself.
const (
	v3Service      = "v3.projectcalico.org"
	v1Service      = "v1.crd.projectcalico.org"
	migrationGroup = "migration.projectcalico.org"
)

var apiServices = kind{
	name:                 "APIService",
	GroupVersionResource: schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"},
}

// apiService is what matters of an APIService.
type apiService struct {
	name       string
	uid        types.UID
	group      string
	version    string
	aggregated bool // another server serves it
	// unavailable is why it is not available, and empty while it is, or while
	// that is not known.
	unavailable string
}

// sameAPI says whether a watch of the one goes on as a watch of the other.
func (s apiService) sameAPI(other apiService) bool {
	return s.uid == other.uid && s.aggregated == other.aggregated
}

// readAPIService keeps the APIServices of Calico, and nothing of others.
func readAPIService(object *unstructured.Unstructured) (apiService, bool) {
	s := apiService{name: object.GetName(), uid: object.GetUID()}
	s.group, _, _ = unstructured.NestedString(object.Object, "spec", "group")
	s.version, _, _ = unstructured.NestedString(object.Object, "spec", "version")
	service, _, _ := unstructured.NestedMap(object.Object, "spec", "service")
	s.aggregated = len(service) > 0
	s.unavailable = unavailable(object)
	return s, s.name == v3Service || s.name == v1Service || s.group == migrationGroup
}

func unavailable(object *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, condition := range conditions {
		c, _ := condition.(map[string]any)
		if c["type"] != "Available" || c["status"] != "False" {
			continue
		}
		message, _ := c["message"].(string)
		reason, _ := c["reason"].(string)
		return cmp.Or(message, reason, "it is not available")
	}
	return ""
}

// mode is how the API is served, as far as it is known.
func (f *Follower) mode() state.CalicoMode {
	if f.registered == nil || !f.registered.complete {
		return state.CalicoUnknown
	}
	if service, found := f.registered.get(v3Service); found {
		if service.aggregated {
			return state.CalicoAggregated
		}
		return state.CalicoNative
	}
	if _, found := f.registered.get(v1Service); found {
		return state.CalicoV1Only
	}
	return state.CalicoAbsent
}

// migrationVersion is the version by which to read migrations, if there is any.
func migrationVersion(services []apiService) string {
	var versions []string
	for _, s := range services {
		if s.group == migrationGroup {
			versions = append(versions, s.version)
		}
	}
	if len(versions) == 0 {
		return ""
	}
	return slices.MaxFunc(versions, version.CompareKubeAwareVersionStrings)
}
