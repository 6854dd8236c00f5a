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

// local is the value of both traffic policies that limits traffic to endpoints on the same
// node. A node without an endpoint drops the traffic.
const local = string(corev1.ServiceExternalTrafficPolicyLocal)

// uncheckedClasses are the classes of load balancers that send traffic to nodes with and
// without endpoints.
var uncheckedClasses = map[string]bool{
	// Cilium's documentation, network/l2-announcements, limitations: with externalTrafficPolicy
	// Local, nodes without pods may announce addresses, and drop the traffic.
	"io.cilium/l2-announcer":     true,
	"kube-vip.io/kube-vip-class": true,
}

// gateLocal judges a claim of the value Local that would drop traffic. The claim is held unless
// forced. If the Service is Local already, the claim only reports the dropped traffic,
// because choosing another value is not the operator's decision.
func (r serviceRule) gateLocal(claim *Claim, service state.Service, dropped string, forcible bool) {
	if claim.Want != local || dropped == "" {
		return
	}
	live := TrafficPolicy(service.Service, claim.Field)
	isLocal := live != nil && *live == local
	if !service.Endpoints.LookedUp && isLocal {
		return // the endpoints were not looked up
	}
	claim.Forced = forcible && r.LocalPolicy == v1alpha1.LocalForce
	if claim.Forced || isLocal {
		claim.Dropped = dropped
	} else {
		claim.HoldReason = dropped
	}
}

// gateInternal holds internalTrafficPolicy Local if some node has no ready endpoint,
// because pods on such a node could not reach the Service at all. Endpoints of the API
// servers are local to no node, and without DNS the pods of a node reach no Service by
// name.
func (r serviceRule) gateInternal(claim *Claim, service state.Service) {
	all := service.Endpoints.All
	switch {
	case ofAPIServers(service.Service):
		r.gateLocal(claim, service, "endpoints of the API servers are local to no node: with Local no pod could reach them: "+
			"leave this Service out of the selector", false)
	case all.IsComplete():
	default:
		what := "pods on the other nodes could not reach the Service"
		remedy := "run an endpoint on every node (a DaemonSet)"
		if state.ServesDNS(service.Service) {
			what = "pods on the other nodes would have no DNS"
		} else {
			remedy += ", or set localPolicy: Force"
		}
		r.gateLocal(claim, service, describeUnserved(all, "nodes", what, remedy, service.Endpoints.Unplaced), !state.ServesDNS(service.Service))
	}
}

// gateExternal holds externalTrafficPolicy Local if traffic would be dropped: a node
// without a ready endpoint drops arriving packets of the Service. Load balancers with
// health checks avoid such nodes. Clients of a node port or of an external address do not.
func (r serviceRule) gateExternal(claim *Claim, service state.Service) {
	used := service.Endpoints.Balanced
	unchecked := trafficWithoutHealthChecks(service.Service)
	switch {
	case ofAPIServers(service.Service):
		r.gateLocal(claim, service, "endpoints of the API servers are local to no node: with Local all traffic from outside would be dropped: "+
			"leave this Service out of the selector", false)
	case unchecked == "" && used.Ready == 0:
		r.gateLocal(claim, service, "no ready endpoint on a node that load balancers use: "+
			"with Local all traffic of the Service would be dropped", true)
	case unchecked != "" && !used.IsComplete():
		what := "the other nodes would drop it, because nothing checks their health for " + unchecked
		remedy := "run an endpoint on each, label nodes without such traffic with " + corev1.LabelNodeExcludeBalancers +
			", or set localPolicy: Force"
		nodes := "nodes that may receive traffic from outside"
		r.gateLocal(claim, service, describeUnserved(used, nodes, what, remedy, service.Endpoints.Unplaced), true)
	}
}

// trafficWithoutHealthChecks names the part of the Service's traffic that comes without health
// checks of nodes; empty if the Service is behind a load balancer with health checks. The API
// server gives every Service of type LoadBalancer a port for health checks as soon as the
// traffic policy is Local.
func trafficWithoutHealthChecks(service *corev1.Service) string {
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

// describeUnserved tells on how many nodes there is an endpoint, and the consequence.
func describeUnserved(spread state.Spread, nodes, what, remedy string, unplaced bool) string {
	text := fmt.Sprintf("%d of %d %s have a ready endpoint: with Local, %s: %s", spread.Served, spread.Nodes, nodes, what, remedy)
	if unplaced {
		text += "; endpoints without a node name are local to no node"
	}
	if len(spread.Without) > 0 {
		text += "; without one: " + wording.ListSome(spread.Without, spread.Nodes-spread.Served)
	}
	return text
}

// ofAPIServers tells whether the Service is the API servers' own.
func ofAPIServers(service *corev1.Service) bool {
	return service.Namespace == metav1.NamespaceDefault && service.Name == "kubernetes"
}

// maxForced is the number of forced Services for which a report looks up endpoints. A
// report has room for fewer, and no decision depends on the lookup.
const maxForced = 64

// WantsLocal returns a function that tells whether the endpoints of a Service must be
// looked up because a policy declares Local. For a forced Service the endpoints matter only
// to the report, so only the first maxForced of them are looked up.
func WantsLocal(policies []Policy) func(*corev1.Service) bool {
	looked := 0
	return func(service *corev1.Service) bool {
		rules := localRules(policies, service)
		if slices.ContainsFunc(rules, func(r serviceRule) bool { return !r.forcesLocal(service) }) {
			return true
		}
		looked += min(len(rules), 1)
		return len(rules) > 0 && looked <= maxForced
	}
}

// AwaitsLocal returns a function that tells whether a policy declares Local for a Service
// that is not Local yet. Such a write depends on the endpoints, unless the entry forces
// Local.
func AwaitsLocal(policies []Policy) func(*corev1.Service) bool {
	return func(service *corev1.Service) bool {
		return slices.ContainsFunc(localRules(policies, service), func(r serviceRule) bool {
			return !r.forcesLocal(service) && slices.ContainsFunc(r.localFields(), func(field string) bool {
				live := TrafficPolicy(service, field)
				return live == nil || *live != local
			})
		})
	}
}

// forcesLocal tells whether the entry sets Local without regard to the Service's endpoints.
func (r serviceRule) forcesLocal(service *corev1.Service) bool {
	return r.LocalPolicy == v1alpha1.LocalForce && !state.ServesDNS(service)
}

// localRules returns the entries that declare Local for Services with the labels in some
// namespace.
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

// localFields returns the field names of the traffic policies that the entry sets to Local.
func (r serviceRule) localFields() (fields []string) {
	if string(r.ExternalTrafficPolicy) == local {
		fields = append(fields, ExternalTrafficPolicy)
	}
	if string(r.InternalTrafficPolicy) == local {
		fields = append(fields, InternalTrafficPolicy)
	}
	return fields
}

// DeclaresLocal tells whether the policy has an entry with Local.
func (p *Policy) DeclaresLocal() bool {
	return slices.ContainsFunc(p.services, func(r serviceRule) bool { return len(r.localFields()) > 0 })
}
