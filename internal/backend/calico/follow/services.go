// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"cmp"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/version"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
)

// The names of the relevant APIServices, and a group of which the version is not known
// beforehand. The API server registers the APIServices of CRDs itself.
const (
	v3Service      = "v3.projectcalico.org"
	v1Service      = "v1.crd.projectcalico.org"
	migrationGroup = "migration.projectcalico.org"
)

var apiServices = kind{
	name:                 "APIService",
	GroupVersionResource: schema.GroupVersionResource{Group: "apiregistration.k8s.io", Version: "v1", Resource: "apiservices"},
}

// apiService holds the used fields of an APIService.
type apiService struct {
	name       string
	uid        types.UID
	group      string
	version    string
	aggregated bool // served by another server
	// unavailable is the reason why the API is not available, empty if the API is
	// available or the state is not known.
	unavailable string
}

// sameAPI says whether a watch of one APIService continues with the other APIService.
func (s apiService) sameAPI(other apiService) bool {
	return s.uid == other.uid && s.aggregated == other.aggregated
}

// readAPIService keeps only APIServices of Calico.
func readAPIService(object *unstructured.Unstructured) (apiService, bool) {
	s := apiService{name: object.GetName(), uid: object.GetUID()}
	s.group, _, _ = unstructured.NestedString(object.Object, "spec", "group")
	s.version, _, _ = unstructured.NestedString(object.Object, "spec", "version")
	service, _, _ := unstructured.NestedMap(object.Object, "spec", "service")
	s.aggregated = len(service) > 0
	s.unavailable = unavailableReason(object)
	return s, s.name == v3Service || s.name == v1Service || s.group == migrationGroup
}

func unavailableReason(object *unstructured.Unstructured) string {
	conditions, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	for _, condition := range conditions {
		c, _ := condition.(map[string]any)
		if c["type"] != "Available" || c["status"] != "False" {
			continue
		}
		message, _ := c["message"].(string)
		reason, _ := c["reason"].(string)
		return cmp.Or(message, reason, "the APIService is not available")
	}
	return ""
}

// servedMode returns how the API is served, as far as known.
func (f *Follower) servedMode() calico.Mode {
	if f.registered == nil || !f.registered.complete {
		return calico.Undetected
	}
	if service, found := f.registered.get(v3Service); found {
		if service.aggregated {
			return calico.Aggregated
		}
		return calico.Native
	}
	if _, found := f.registered.get(v1Service); found {
		return calico.V1Only
	}
	return calico.Absent
}

// migrationVersion returns the version for reading migrations, empty if no version is
// served.
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
