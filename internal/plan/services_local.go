// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/internal/wording"
)

// local is the value of both traffic policies that sends traffic to endpoints of
// the same node only. Where a node has none, it drops the traffic.
const local = string(corev1.ServiceExternalTrafficPolicyLocal)

// uncheckedClasses are the classes of load balancers that send traffic to a node
// whether it has an endpoint or not.
var uncheckedClasses = map[string]bool{
	// Cilium's documentation, network/l2-announcements, limitations: with
	// externalTrafficPolicy Local, addresses may be announced by nodes without
	// pods, which drop the traffic.
	"io.cilium/l2-announcer":     true,
	"kube-vip.io/kube-vip-class": true,
}

// gate decides about a claim of the value Local. Where traffic would be dropped,
// it holds the claim back, unless that is forced; where Local is set already, it
// says so: to set something else is not the operator's to decide.
func (r serviceRule) gate(claim *Claim, service state.Service, dropped string, forcible bool) {
	if claim.Want != local || dropped == "" {
		return
	}
	live := TrafficPolicy(service.Service, claim.Field)
	isLocal := live != nil && *live == local
	if !service.Endpoints.LookedUp && isLocal {
		return // nobody has asked
	}
	claim.Forced = forcible && r.LocalPolicy == v1alpha1.LocalForce
	if claim.Forced || isLocal {
		claim.Dropped = dropped
	} else {
		claim.HeldBack = dropped
	}
}

// gateInternal holds back internalTrafficPolicy Local where a node has no ready
// endpoint: its pods could not reach the Service at all. That of the API servers
// is nowhere local, and without DNS the pods of a node reach nothing.
func (r serviceRule) gateInternal(claim *Claim, service state.Service) {
	all := service.Endpoints.All
	switch {
	case ofAPIServers(service.Service):
		r.gate(claim, service, "endpoints of the API servers are local to no node: with Local no pod could reach them: "+
			"leave this Service out of the selector", false)
	case all.IsComplete():
	default:
		what := "pods on the others could not reach it"
		remedy := "run an endpoint on every node (a DaemonSet)"
		if state.ServesDNS(service.Service) {
			what = "pods on the others would have no DNS"
		} else {
			remedy += ", or set localPolicy: Force"
		}
		r.gate(claim, service, unserved(all, "nodes", what, remedy, service.Endpoints.Unplaced), !state.ServesDNS(service.Service))
	}
}

// gateExternal holds back externalTrafficPolicy Local where it would black-hole
// traffic: a node without a ready endpoint drops what arrives for the Service.
// Load balancers that check the health of nodes leave these out. Whoever sends to
// a port of the nodes, or to an external address, does not.
func (r serviceRule) gateExternal(claim *Claim, service state.Service) {
	used := service.Endpoints.Balanced
	unchecked := unhealthChecked(service.Service)
	switch {
	case ofAPIServers(service.Service):
		r.gate(claim, service, "endpoints of the API servers are local to no node: with Local all traffic from outside would be dropped: "+
			"leave this Service out of the selector", false)
	case unchecked == "" && used.Ready == 0:
		r.gate(claim, service, "no ready endpoint on a node that load balancers use: with Local all its traffic would be dropped", true)
	case unchecked != "" && !used.IsComplete():
		what := "the others would drop it, as nothing checks their health for " + unchecked
		remedy := "run an endpoint on every one, label those that nobody sends to with " + corev1.LabelNodeExcludeBalancers +
			", or set localPolicy: Force"
		r.gate(claim, service, unserved(used, "nodes that traffic from outside may come to", what, remedy, service.Endpoints.Unplaced), true)
	}
}

// unhealthChecked returns for what of the Service nothing checks the health of
// nodes; empty if it is behind a load balancer that can. The API server gives every
// Service of type LoadBalancer a port for that as soon as its policy is Local.
func unhealthChecked(service *corev1.Service) string {
	class := ""
	if service.Spec.LoadBalancerClass != nil {
		class = *service.Spec.LoadBalancerClass
	}
	switch {
	case len(service.Spec.ExternalIPs) > 0:
		return "externalIPs"
	case service.Spec.Type != corev1.ServiceTypeLoadBalancer:
		return "a Service of type " + string(service.Spec.Type)
	case uncheckedClasses[class]:
		return "load balancers of class " + class
	}
	return ""
}

// unserved tells on how many nodes there is an endpoint, and what follows.
func unserved(spread state.Spread, nodes, what, remedy string, unplaced bool) string {
	text := fmt.Sprintf("%d of %d %s have a ready endpoint: with Local, %s: %s", spread.Served, spread.Nodes, nodes, what, remedy)
	if unplaced {
		text += "; endpoints that name no node are local to none"
	}
	if len(spread.Without) > 0 {
		text += "; without one: " + wording.ListSome(spread.Without, spread.Nodes-spread.Served)
	}
	return text
}

// ofAPIServers says whether it is the Service of the API servers themselves.
func ofAPIServers(service *corev1.Service) bool {
	return service.Namespace == metav1.NamespaceDefault && service.Name == "kubernetes"
}

// maxForced is of how many forced Services a report looks up where their endpoints
// are: it tells fewer, and nothing is decided by it.
const maxForced = 64

// WantsLocal says whether a policy wants a Service's traffic to stay on the node,
// so that it matters where its endpoints are. Of those where it matters only to
// what is told, it says so of the first that it is asked about.
func WantsLocal(policies []Policy) func(*corev1.Service) bool {
	looked := 0
	return func(service *corev1.Service) bool {
		rules := localRules(policies, service)
		if slices.ContainsFunc(rules, func(r serviceRule) bool { return !r.forces(service) }) {
			return true
		}
		looked += min(len(rules), 1)
		return len(rules) > 0 && looked <= maxForced
	}
}

// AwaitsLocal says whether that is so, and not yet: whether Local may be set then
// depends on where the endpoints are, unless it is forced.
func AwaitsLocal(policies []Policy) func(*corev1.Service) bool {
	return func(service *corev1.Service) bool {
		return slices.ContainsFunc(localRules(policies, service), func(r serviceRule) bool {
			return !r.forces(service) && slices.ContainsFunc(r.localFields(), func(field string) bool {
				live := TrafficPolicy(service, field)
				return live == nil || *live != local
			})
		})
	}
}

// forces says whether the entry sets Local on the Service wherever its endpoints are.
func (r serviceRule) forces(service *corev1.Service) bool {
	return r.LocalPolicy == v1alpha1.LocalForce && !state.ServesDNS(service)
}

// localRules returns the entries that declare Local for Services with these labels
// in some namespace.
func localRules(policies []Policy, service *corev1.Service) (rules []serviceRule) {
	for i := range policies {
		for _, rule := range policies[i].services {
			if len(rule.localFields()) > 0 && rule.selector.Matches(labels.Set(service.Labels)) {
				rules = append(rules, rule)
			}
		}
	}
	return rules
}

// localFields returns the traffic policies that the entry declares to be Local.
func (r serviceRule) localFields() (fields []string) {
	if string(r.ExternalTrafficPolicy) == local {
		fields = append(fields, ExternalTrafficPolicy)
	}
	if string(r.InternalTrafficPolicy) == local {
		fields = append(fields, InternalTrafficPolicy)
	}
	return fields
}

// DeclaresLocal says whether the policy has an entry with Local.
func (p *Policy) DeclaresLocal() bool {
	return slices.ContainsFunc(p.services, func(r serviceRule) bool { return len(r.localFields()) > 0 })
}
