// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"context"

	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
)

// served is the reading of projectcalico.org/v3 as served by one APIService.
type served struct {
	*reading
	service apiService

	tiers     *store[v3.Tier]
	policies  *store[v3.GlobalNetworkPolicy]
	sets      *store[v3.GlobalNetworkSet]
	endpoints *store[v3.HostEndpoint]
	felix     *store[v3.FelixConfiguration]
	pools     *store[v3.IPPool]
	cluster   *store[bool] // whether the datastore is ready
}

func (f *Follower) followServed(ctx context.Context, service apiService) *served {
	r := f.newReading(ctx)
	tiers := &tierNames{renew: newRenewal()}
	s := &served{
		reading:   r,
		service:   service,
		tiers:     followCalico[v3.Tier](r, v3.KindTier, "tiers"),
		policies:  followCalicoWithRenewal[v3.GlobalNetworkPolicy](r, tiers.renew, v3.KindGlobalNetworkPolicy, "globalnetworkpolicies"),
		sets:      followCalico[v3.GlobalNetworkSet](r, v3.KindGlobalNetworkSet, "globalnetworksets"),
		endpoints: followCalico[v3.HostEndpoint](r, v3.KindHostEndpoint, "hostendpoints"),
		felix:     followCalico[v3.FelixConfiguration](r, v3.KindFelixConfiguration, "felixconfigurations"),
		pools:     followCalico[v3.IPPool](r, v3.KindIPPool, "ippools"),
		cluster:   followKind(r, calicoKind(v3.KindClusterInformation, "clusterinformations"), datastoreReady),
	}
	s.policies.kind.also = ", and of tier.globalnetworkpolicies, and get of tiers"
	s.tiers.hook = func() { tiers.setNames(sets.KeySet(s.tiers.objects)) }
	r.start()
	return s
}

// copyObjects copies the objects of all stores.
func (s *served) copyObjects(to *calico.Live) {
	to.Tiers = s.tiers.list()
	to.Policies = s.policies.list()
	to.Sets = s.sets.list()
	to.Endpoints = s.endpoints.list()
	to.Felix = s.felix.list()
	to.Pools = s.pools.list()
}

// isComplete says whether every kind has been listed once.
func (s *served) isComplete() bool {
	return s.tiers.complete && s.policies.complete && s.sets.complete && s.endpoints.complete &&
		s.felix.complete && s.pools.complete && s.cluster.complete
}

func calicoKind(name, resource string) kind {
	return kind{GroupVersionResource: v3.SchemeGroupVersion.WithResource(resource), name: name}
}

func followCalico[T any, P interface {
	*T
	client.Object
}](r *reading, name, resource string) *store[T] {
	return followCalicoWithRenewal[T, P](r, nil, name, resource)
}

// followCalicoWithRenewal follows a kind of Calico. If there is a renewal, the kind is
// listed again after the end of each watch.
func followCalicoWithRenewal[T any, P interface {
	*T
	client.Object
}](r *reading, renew *renewal, name, resource string) *store[T] {
	s := followWithRenewal(r, calicoKind(name, resource), renew, keepNeeded[T, P])
	s.told = true
	s.known = func(listed client.Object) (kept client.Object) {
		r.follower.mu.Lock()
		defer r.follower.mu.Unlock()
		if e, found := s.objects[listed.GetName()]; found && e.version != "" && e.version == listed.GetResourceVersion() {
			return P(&e.value)
		}
		return nil
	}
	return s
}

// keepNeeded keeps the needed parts of an object.
func keepNeeded[T any, P interface {
	*T
	client.Object
}](object P) (T, bool) {
	reduce(object)
	return *object, true
}

// clusterInformation is the name of the only ClusterInformation.
const clusterInformation = "default"

func datastoreReady(object *v3.ClusterInformation) (ready, keep bool) {
	return ptr.Deref(object.Spec.DatastoreReady, true), object.Name == clusterInformation
}
