// SPDX-License-Identifier: Apache-2.0

package stolen

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

// Paths of objects that the operator writes.
const (
	nodes      = "/api/v1/nodes/"
	services   = "/api/v1/namespaces/default/services/"
	policies   = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/"
	calicos    = "/apis/projectcalico.org/v3/"
	own        = "/apis/cpnp.dev/v1alpha1/"
	leases     = "/apis/coordination.k8s.io/v1/namespaces/cpnp-system/leases/"
	events     = "/apis/events.k8s.io/v1/namespaces/default/events"
	oldEvent   = "/api/v1/namespaces/default/events"
	reports    = "/apis/openreports.io/v1alpha1/clusterreports"
	oldReports = "/apis/wgpolicyk8s.io/v1alpha2/clusterpolicyreports"
)

const ownSelector = `cpnp.dev/policy == 'plane' && !has(projectcalico.org/namespace)`

// globalPolicy returns a Calico policy of the operator with a changed spec.
func globalPolicy(name, labels, spec string) string {
	return fmt.Sprintf("{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: %s, labels: {%s}}, spec: {%s}}", name, labels, spec)
}

func labelledPlane(rest string) string { return "cpnp.dev/policy: plane" + rest }

// event returns an event about an object.
func event(about, object string) string {
	return fmt.Sprintf("{metadata: {name: stolen, namespace: default}, %s: %s, eventTime: '2026-01-01T00:00:00.000000Z', reportingController: cpnp-operator, "+
		"reportingInstance: x, reportingComponent: cpnp-operator, action: Stolen, reason: Stolen, type: Normal, note: x}", about, object)
}

// admitted are the writes that the operator itself makes.
var admitted = map[string]write{
	"add a taint":                         patch(nodes+"cp-1", `{spec: {taints: [{key: node.kubernetes.io/not-ready, effect: NoSchedule}, {key: example.com/theirs, effect: NoSchedule}, {key: node-role.kubernetes.io/control-plane, effect: NoSchedule}]}}`),
	"remove a taint":                      patch(nodes+"cp-1", `{spec: {taints: [{key: node.kubernetes.io/not-ready, effect: NoSchedule}]}}`),
	"external policy":                     apply(services+"web", `{apiVersion: v1, kind: Service, metadata: {name: web, annotations: {cpnp.dev/record: x}}, spec: {externalTrafficPolicy: Local}}`),
	"internal policy":                     apply(services+"web", `{apiVersion: v1, kind: Service, metadata: {name: web, annotations: {cpnp.dev/record: x}}, spec: {internalTrafficPolicy: Local}}`),
	"distribution":                        apply(services+"web", `{apiVersion: v1, kind: Service, metadata: {name: web}, spec: {trafficDistribution: PreferClose}}`),
	"drop a record":                       patch(services+"web", `{metadata: {annotations: {cpnp.dev/record: null}}}`),
	"new NetworkPolicy":                   apply(policies+"cpnp.plane.dns", `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: cpnp.plane.dns, labels: {cpnp.dev/policy: plane, cpnp.dev/component: dns}, annotations: {cpnp.dev/desired-hash: x}}, spec: {podSelector: {}}}`),
	"repair a NetworkPolicy":              patch(policies+"cpnp.plane.web", `{metadata: {labels: {cpnp.dev/component: web}, annotations: {cpnp.dev/desired-hash: z}}, spec: {podSelector: {}}}`),
	"remove a NetworkPolicy":              remove(policies + "cpnp.plane.web"),
	"the tier":                            patch(calicos+"tiers/cpnp", `{spec: {order: 500, defaultAction: Pass}}`),
	"remove the tier":                     remove(calicos + "tiers/cpnp"),
	"new rules":                           apply(calicos+"globalnetworkpolicies/cpnp.plane-deny-etcd-1", globalPolicy("cpnp.plane-deny-etcd-1", labelledPlane(", cpnp.dev/version: a"), `tier: cpnp, order: 1000, types: [Ingress], ingress: [{action: Deny}], selector: "`+ownSelector+` && cpnp.dev/enforced == 'true'"`)),
	"created rules":                       create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-deny-etcd-1", labelledPlane(""), `tier: cpnp, order: 1000, types: [Ingress], selector: "`+ownSelector+`"`)),
	"remove rules":                        remove(calicos + "globalnetworkpolicies/cpnp.plane-self"),
	"a set":                               patch(calicos+"globalnetworksets/cpnp-plane-nodes-0", `{spec: {nets: [198.51.100.0/24]}}`),
	"remove a set":                        remove(calicos + "globalnetworksets/cpnp-plane-nodes-0"),
	"an endpoint":                         patch(calicos+"hostendpoints/cpnp-cp-1", `{metadata: {labels: {cpnp.dev/enforced: "true"}}}`),
	"remove an endpoint":                  remove(calicos + "hostendpoints/cpnp-cp-1"),
	"new failsafes":                       apply(calicos+"felixconfigurations/node.cp-2", `{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: node.cp-2, labels: {cpnp.dev/policy: plane}}, spec: {failsafeInboundHostPorts: []}}`),
	"failsafes of a shared configuration": apply(calicos+"felixconfigurations/node.cp-1", `{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: node.cp-1, labels: {cpnp.dev/policy: plane}}, spec: {failsafeInboundHostPorts: []}}`),
	"the finalizer":                       patch(own+"controlplanenetworkpolicies/plane", `{metadata: {finalizers: [example.com/held, cpnp.dev/finalizer]}}`),
	"the status":                          patch(own+"controlplanenetworkpolicies/plane/status", `{status: {observedGeneration: 1}}`),
	"new enactment":                       create(own+"controlplanenodeenactments", `{apiVersion: cpnp.dev/v1alpha1, kind: ControlPlaneNodeEnactment, metadata: {name: plane.cp-2, ownerReferences: [{apiVersion: cpnp.dev/v1alpha1, kind: ControlPlaneNetworkPolicy, name: plane, uid: "1"}]}, spec: {policy: plane, node: cp-2}}`),
	"what is probed":                      patch(own+"controlplanenodeenactments/plane.cp-1", `{spec: {probeRound: 2}}`),
	"phases":                              patch(own+"controlplanenodeenactments/plane.cp-1/status", `{status: {ruleset: a}}`),
	"remove an enactment":                 remove(own + "controlplanenodeenactments/plane.cp-1"),
	"new posture":                         create(own+"controlplanenodepostures", `{apiVersion: cpnp.dev/v1alpha1, kind: ControlPlaneNodePosture, metadata: {name: plane.cp-2, ownerReferences: [{apiVersion: cpnp.dev/v1alpha1, kind: ControlPlaneNetworkPolicy, name: plane, uid: "1"}]}, spec: {policy: plane, node: cp-2}}`),
	"whose TLS is probed":                 patch(own+"controlplanenodepostures/plane.cp-1", `{spec: {intervalSeconds: 60}}`),
	"own observation of TLS":              patch(own+"controlplanenodepostures/plane.cp-1/status", `{status: {observers: [{name: operator, time: "2026-01-01T00:00:00Z"}]}}`),
	"remove a posture":                    remove(own + "controlplanenodepostures/plane.cp-1"),
	"new record":                          create(own+"controlplanenoderecords", `{apiVersion: cpnp.dev/v1alpha1, kind: ControlPlaneNodeRecord, metadata: {name: cp-2, ownerReferences: [{apiVersion: v1, kind: Node, name: cp-2, uid: "1"}]}, spec: {nodeUID: "1", taints: [{key: a, effect: NoSchedule, policy: plane}]}}`),
	"remove a record":                     remove(own + "controlplanenoderecords/cp-1"),
	"tell of a policy":                    create(events, event("regarding", `{apiVersion: cpnp.dev/v1alpha1, kind: ControlPlaneNetworkPolicy, name: plane}`)),
	"tell of an object":                   create(events, event("regarding", `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, namespace: default, name: cpnp.plane.web}`)),
	"tell of rules":                       create(events, event("regarding", `{apiVersion: projectcalico.org/v3, kind: HostEndpoint, name: cpnp-cp-1}`)),
	"the lease":                           create(strings.TrimSuffix(leases, "/"), `{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: cpnp-operator.cpnp.dev}}`),
	"new report":                          create(oldReports, report("wgpolicyk8s.io/v1alpha2", "ClusterPolicyReport", "cpnp-plane", "plane")),
	"a report":                            apply(reports+"/cpnp-plane", report("openreports.io/v1alpha1", "ClusterReport", "cpnp-plane", "plane")),
	"ask for a token":                     create("/apis/authentication.k8s.io/v1/tokenreviews", `{apiVersion: authentication.k8s.io/v1, kind: TokenReview, spec: {token: x}}`),
}

// confined are the writes that the operator's roles grant, and the admission policies refuse.
var confined = map[string]write{
	"cordon":                       patch(nodes+"cp-1", `{spec: {unschedulable: true}}`),
	"pod networks of a node":       patch(nodes+"cp-1", `{spec: {podCIDR: 10.0.0.0/24, podCIDRs: [10.0.0.0/24]}}`),
	"provider of a node":           patch(nodes+"cp-1", `{spec: {providerID: aws:///x}}`),
	"label of a node":              patch(nodes+"cp-1", `{metadata: {labels: {x: z}}}`),
	"role of a node":               patch(nodes+"cp-1", `{metadata: {labels: {node-role.kubernetes.io/control-plane: null}}}`),
	"annotation of a node":         patch(nodes+"cp-1", `{metadata: {annotations: {x: z}}}`),
	"annotation of a node changed": patch(nodes+"cp-1", `{metadata: {annotations: {example.com/by: thief}}}`),
	"annotation of a node gone":    patch(nodes+"cp-1", `{metadata: {annotations: {example.com/by: null}}}`),
	"forged record of a node":      patch(nodes+"cp-1", `{metadata: {annotations: {cpnp.dev/record: x}}}`),
	"finalizer of a node":          patch(nodes+"cp-1", `{metadata: {finalizers: [example.com/x]}}`),
	"owner of a node":              patch(nodes+"cp-1", `{metadata: {ownerReferences: [{apiVersion: v1, kind: Node, name: x, uid: "1"}]}}`),
	"all taints gone":              patch(nodes+"cp-1", `{spec: {taints: []}}`),
	"taint not ready":              patch(nodes+"cp-1", `{spec: {taints: [{key: node.kubernetes.io/not-ready, effect: NoExecute}]}}`),
	"taint unschedulable":          patch(nodes+"cp-1", `{spec: {taints: [{key: node.kubernetes.io/unschedulable, effect: NoSchedule}]}}`),
	"taint of a cloud":             patch(nodes+"cp-1", `{spec: {taints: [{key: node.cloudprovider.kubernetes.io/shutdown, effect: NoSchedule}]}}`),
	"more taints than a Node has":  patch(nodes+"cp-1", `{spec: {taints: [`+manyTaints(301)+`]}}`),
	"taint and cordon":             patch(nodes+"cp-1", `{spec: {unschedulable: true, taints: []}}`),

	"selector of a Service":           patch(services+"web", `{spec: {selector: {app: thief}}}`),
	"no selector":                     patch(services+"web", `{spec: {selector: null}}`),
	"type of a Service":               patch(services+"web", `{spec: {type: NodePort}}`),
	"external name":                   patch(services+"web", `{spec: {type: ExternalName, externalName: example.com}}`),
	"external address":                patch(services+"web", `{spec: {externalIPs: [10.80.0.1]}}`),
	"port of a Service":               patch(services+"web", `{spec: {ports: [{port: 81}]}}`),
	"target port":                     patch(services+"web", `{spec: {ports: [{port: 80, targetPort: 22}]}}`),
	"sources of a Service":            patch(services+"web", `{spec: {loadBalancerSourceRanges: [0.0.0.0/0]}}`),
	"address of a balancer":           patch(services+"web", `{spec: {loadBalancerIP: 192.0.2.1}}`),
	"unready endpoints beside":        patch(services+"web", `{spec: {internalTrafficPolicy: Local, publishNotReadyAddresses: true}}`),
	"node ports":                      patch(services+"web", `{spec: {allocateLoadBalancerNodePorts: false}}`),
	"unready endpoints":               patch(services+"web", `{spec: {publishNotReadyAddresses: true}}`),
	"session affinity":                patch(services+"web", `{spec: {sessionAffinity: ClientIP}}`),
	"label of a Service":              patch(services+"web", `{metadata: {labels: {app: thief}}}`),
	"annotation of a Service":         patch(services+"web", `{metadata: {annotations: {service.beta.kubernetes.io/aws-load-balancer-internal: "false"}}}`),
	"annotation of a Service changed": patch(services+"web", `{metadata: {annotations: {example.com/by: thief}}}`),
	"annotation of a Service gone":    patch(services+"web", `{metadata: {annotations: {example.com/by: null}}}`),
	"finalizer of a Service":          patch(services+"web", `{metadata: {finalizers: [example.com/x]}}`),
	"owner of a Service":              patch(services+"web", `{metadata: {ownerReferences: [{apiVersion: v1, kind: Node, name: x, uid: "1"}]}}`),
	"Service kubernetes":              patch(services+"kubernetes", `{spec: {ports: [{name: https, port: 443, targetPort: 1}]}}`),

	"NetworkPolicy of others":           patch(policies+"theirs", `{spec: {podSelector: {}}}`),
	"NetworkPolicy of others taken":     patch(policies+"theirs", `{metadata: {labels: {cpnp.dev/policy: plane}}}`),
	"NetworkPolicy of others removed":   remove(policies + "theirs"),
	"NetworkPolicy of the name taken":   patch(policies+"cpnp.theirs", `{metadata: {labels: {cpnp.dev/policy: plane}}}`),
	"NetworkPolicy of the name removed": remove(policies + "cpnp.theirs"),
	"NetworkPolicy of another name":     create(strings.TrimSuffix(policies, "/"), `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: open, labels: {cpnp.dev/policy: plane}}, spec: {podSelector: {}}}`),
	"NetworkPolicy without label":       create(strings.TrimSuffix(policies, "/"), `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: cpnp.plane.x}, spec: {podSelector: {}}}`),
	"NetworkPolicy with labels":         create(strings.TrimSuffix(policies, "/"), `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: cpnp.plane.x, labels: {cpnp.dev/policy: plane, x: z}}, spec: {podSelector: {}}}`),
	"NetworkPolicy with a finalizer":    create(strings.TrimSuffix(policies, "/"), `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: cpnp.plane.x, labels: {cpnp.dev/policy: plane}, finalizers: [example.com/x]}, spec: {podSelector: {}}}`),
	"NetworkPolicy loses its label":     patch(policies+"cpnp.plane.web", `{metadata: {labels: {cpnp.dev/policy: null}}}`),
	"NetworkPolicy loses others' label": patch(policies+"cpnp.plane.web", `{metadata: {labels: {example.com/by: null}}}`),
	"NetworkPolicy gets a label":        patch(policies+"cpnp.plane.web", `{metadata: {labels: {example.com/x: z}}}`),
	"NetworkPolicy loses a finalizer":   patch(policies+"cpnp.plane.web", `{metadata: {finalizers: null}}`),
	"NetworkPolicy gets an owner":       patch(policies+"cpnp.plane.web", `{metadata: {ownerReferences: [{apiVersion: v1, kind: Node, name: x, uid: "1"}]}}`),

	"tier of others":                    patch(calicos+"tiers/default", `{spec: {order: 1}}`),
	"tier of others removed":            remove(calicos + "tiers/kube-admin"),
	"new tier":                          create(calicos+"tiers", `{apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: thief}, spec: {order: 1}}`),
	"tier that denies":                  patch(calicos+"tiers/cpnp", `{spec: {defaultAction: Deny}}`),
	"tier without default action":       patch(calicos+"tiers/cpnp", `{spec: {defaultAction: null}}`),
	"tier before all":                   patch(calicos+"tiers/cpnp", `{spec: {order: 1}}`),
	"label of the tier":                 patch(calicos+"tiers/cpnp", `{metadata: {labels: {x: z}}}`),
	"finalizer of the tier":             patch(calicos+"tiers/cpnp", `{metadata: {finalizers: [example.com/x]}}`),
	"rules of others":                   patch(calicos+"globalnetworkpolicies/default.theirs", `{spec: {selector: "has(x)"}}`),
	"rules of others taken":             patch(calicos+"globalnetworkpolicies/default.theirs", `{metadata: {labels: {cpnp.dev/policy: plane}}}`),
	"rules of others removed":           remove(calicos + "globalnetworkpolicies/default.theirs"),
	"rules without label":               create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", "", `tier: cpnp, types: [Ingress], selector: "`+ownSelector+`"`)),
	"rules of another name":             create(calicos+"globalnetworkpolicies", globalPolicy("default.plane-x", labelledPlane(""), `tier: cpnp, types: [Ingress], selector: "`+ownSelector+`"`)),
	"rules of another tier":             create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", labelledPlane(""), `tier: default, types: [Ingress], selector: "`+ownSelector+`"`)),
	"rules of no tier":                  create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", labelledPlane(""), `types: [Ingress], selector: "`+ownSelector+`"`)),
	"rules for everything":              create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", labelledPlane(""), `tier: cpnp, types: [Ingress], selector: all()`)),
	"rules without selector":            create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", labelledPlane(""), `tier: cpnp, types: [Ingress]`)),
	"rules for more":                    create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", labelledPlane(""), `tier: cpnp, types: [Ingress], selector: "`+ownSelector+` && has(x) || all()"`)),
	"rules for another policy":          create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", "cpnp.dev/policy: other", `tier: cpnp, types: [Ingress], selector: "`+ownSelector+`"`)),
	"rules for namespaces":              create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", labelledPlane(""), `tier: cpnp, types: [Ingress], namespaceSelector: all(), selector: "`+ownSelector+`"`)),
	"rules for what goes out":           create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", labelledPlane(""), `tier: cpnp, types: [Ingress, Egress], selector: "`+ownSelector+`"`)),
	"rules that go out":                 create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", labelledPlane(""), `tier: cpnp, types: [Ingress], egress: [{action: Deny}], selector: "`+ownSelector+`"`)),
	"rules without tracking":            create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", labelledPlane(""), `tier: cpnp, types: [Ingress], doNotTrack: true, applyOnForward: true, selector: "`+ownSelector+`"`)),
	"rules before translation":          create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", labelledPlane(""), `tier: cpnp, types: [Ingress], preDNAT: true, applyOnForward: true, selector: "`+ownSelector+`"`)),
	"rules for forwarding":              create(calicos+"globalnetworkpolicies", globalPolicy("cpnp.plane-x", labelledPlane(""), `tier: cpnp, types: [Ingress], applyOnForward: true, selector: "`+ownSelector+`"`)),
	"own rules widened":                 patch(calicos+"globalnetworkpolicies/cpnp.plane-self", `{spec: {selector: all()}}`),
	"own rules moved":                   patch(calicos+"globalnetworkpolicies/cpnp.plane-self", `{spec: {tier: default}}`),
	"own rules lose the label":          patch(calicos+"globalnetworkpolicies/cpnp.plane-self", `{metadata: {labels: {cpnp.dev/policy: null}}}`),
	"own rules get a label":             patch(calicos+"globalnetworkpolicies/cpnp.plane-self", `{metadata: {labels: {x: z}}}`),
	"own rules get an owner":            patch(calicos+"globalnetworkpolicies/cpnp.plane-self", `{metadata: {ownerReferences: [{apiVersion: v1, kind: Node, name: x, uid: "1"}]}}`),
	"set of others":                     patch(calicos+"globalnetworksets/theirs", `{spec: {nets: [0.0.0.0/0]}}`),
	"set of others taken":               patch(calicos+"globalnetworksets/theirs", `{metadata: {labels: {cpnp.dev/policy: plane}}}`),
	"set of others removed":             remove(calicos + "globalnetworksets/theirs"),
	"set without label":                 create(calicos+"globalnetworksets", `{apiVersion: projectcalico.org/v3, kind: GlobalNetworkSet, metadata: {name: cpnp-x}}`),
	"set of another label":              patch(calicos+"globalnetworksets/cpnp-plane-nodes-0", `{metadata: {labels: {role: frontend}}}`),
	"endpoint of others":                patch(calicos+"hostendpoints/theirs", `{spec: {profiles: []}}`),
	"endpoint of others taken":          patch(calicos+"hostendpoints/theirs", `{metadata: {labels: {cpnp.dev/policy: plane}}}`),
	"endpoint of others removed":        remove(calicos + "hostendpoints/theirs"),
	"endpoint without profile":          create(calicos+"hostendpoints", `{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: cpnp-x, labels: {cpnp.dev/policy: plane}}, spec: {node: x, interfaceName: "*"}}`),
	"endpoint loses its profile":        patch(calicos+"hostendpoints/cpnp-cp-1", `{spec: {profiles: null}}`),
	"endpoint of another profile":       patch(calicos+"hostendpoints/cpnp-cp-1", `{spec: {profiles: [thief]}}`),
	"endpoint of another label":         patch(calicos+"hostendpoints/cpnp-cp-1", `{metadata: {labels: {role: frontend}}}`),
	"endpoint without label":            create(calicos+"hostendpoints", `{apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: cpnp-x}, spec: {node: x, interfaceName: "*", profiles: [projectcalico-default-allow]}}`),
	"Felix of all nodes":                patch(calicos+"felixconfigurations/default", `{spec: {failsafeInboundHostPorts: []}}`),
	"Felix of all nodes removed":        remove(calicos + "felixconfigurations/default"),
	"Felix of all nodes, another field": patch(calicos+"felixconfigurations/default", `{spec: {bpfEnabled: true}}`),
	"Felix of a selector":               create(calicos+"felixconfigurations", `{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: cpnp}, spec: {failsafeInboundHostPorts: []}}`),
	"Felix of a node, another field":    patch(calicos+"felixconfigurations/node.cp-1", `{spec: {defaultEndpointToHostAction: Accept}}`),
	"Felix of a node, going out":        patch(calicos+"felixconfigurations/node.cp-1", `{spec: {failsafeOutboundHostPorts: []}}`),
	"Felix of a node, others' field":    patch(calicos+"felixconfigurations/node.cp-1", `{spec: {logSeverityScreen: null}}`),
	"Felix of a node removed":           remove(calicos + "felixconfigurations/node.cp-1"),
	"Felix of a node, label":            patch(calicos+"felixconfigurations/node.cp-1", `{metadata: {labels: {x: z}}}`),
	"new Felix, another field":          create(calicos+"felixconfigurations", `{apiVersion: projectcalico.org/v3, kind: FelixConfiguration, metadata: {name: node.cp-3, labels: {cpnp.dev/policy: plane}}, spec: {iptablesRefreshInterval: 0s}}`),

	"mode of a policy":          patch(own+"controlplanenetworkpolicies/plane", `{spec: {mode: Enforce}}`),
	"suspend a policy":          patch(own+"controlplanenetworkpolicies/plane", `{spec: {suspend: true}}`),
	"nodes of a policy":         patch(own+"controlplanenetworkpolicies/plane", `{spec: {nodeSelector: {matchLabels: {x: z}}}}`),
	"taints of a policy":        patch(own+"controlplanenetworkpolicies/plane", `{spec: {taints: [{key: x, effect: NoSchedule}]}}`),
	"spec by apply":             apply(own+"controlplanenetworkpolicies/plane", `{apiVersion: cpnp.dev/v1alpha1, kind: ControlPlaneNetworkPolicy, metadata: {name: plane}, spec: {mode: Enforce}}`),
	"revert":                    patch(own+"controlplanenetworkpolicies/plane", `{metadata: {annotations: {cpnp.dev/revert: stolen}}}`),
	"allow a lock-out":          patch(own+"controlplanenetworkpolicies/plane", `{metadata: {annotations: {cpnp.dev/allow-lockout: stolen}}}`),
	"annotation of a policy":    patch(own+"controlplanenetworkpolicies/plane", `{metadata: {annotations: {example.com/by: thief}}}`),
	"label of a policy":         patch(own+"controlplanenetworkpolicies/plane", `{metadata: {labels: {app: thief}}}`),
	"finalizer of others gone":  patch(own+"controlplanenetworkpolicies/plane", `{metadata: {finalizers: null}}`),
	"finalizer of others new":   patch(own+"controlplanenetworkpolicies/plane", `{metadata: {finalizers: [example.com/held, example.com/x]}}`),
	"owner of a policy":         patch(own+"controlplanenetworkpolicies/plane", `{metadata: {ownerReferences: [{apiVersion: v1, kind: Node, name: x, uid: "1"}]}}`),
	"finalizer and spec":        patch(own+"controlplanenetworkpolicies/plane", `{metadata: {finalizers: [example.com/held, cpnp.dev/finalizer]}, spec: {mode: Enforce}}`),
	"confirm a node":            patch(own+"controlplanenodeenactments/plane.cp-1", `{metadata: {annotations: {cpnp.dev/confirm: "1"}}}`),
	"finalizer of an enactment": patch(own+"controlplanenodeenactments/plane.cp-1", `{metadata: {finalizers: [example.com/x]}}`),
	"owner of an enactment":     patch(own+"controlplanenodeenactments/plane.cp-1", `{metadata: {ownerReferences: [{apiVersion: v1, kind: Node, name: x, uid: "1"}]}}`),
	"confirmed enactment":       create(own+"controlplanenodeenactments", `{apiVersion: cpnp.dev/v1alpha1, kind: ControlPlaneNodeEnactment, metadata: {name: plane.cp-2, annotations: {cpnp.dev/confirm: "1"}}, spec: {policy: plane, node: cp-2}}`),
	"finalizer of a posture":    patch(own+"controlplanenodepostures/plane.cp-1", `{metadata: {finalizers: [example.com/x]}}`),
	"owner of a posture":        patch(own+"controlplanenodepostures/plane.cp-1", `{metadata: {ownerReferences: [{apiVersion: v1, kind: Node, name: x, uid: "1"}]}}`),
	"record of another owner":   create(own+"controlplanenoderecords", `{apiVersion: cpnp.dev/v1alpha1, kind: ControlPlaneNodeRecord, metadata: {name: cp-2, ownerReferences: [{apiVersion: v1, kind: Node, name: other, uid: "1"}]}, spec: {nodeUID: "1", taints: [{key: a, effect: NoSchedule, policy: plane}]}}`),
	"record with a finalizer":   create(own+"controlplanenoderecords", `{apiVersion: cpnp.dev/v1alpha1, kind: ControlPlaneNodeRecord, metadata: {name: cp-2, finalizers: [example.com/x]}, spec: {nodeUID: "1", taints: [{key: a, effect: NoSchedule, policy: plane}]}}`),

	"tell of a pod":                     create(events, event("regarding", `{apiVersion: v1, kind: Pod, namespace: default, name: x}`)),
	"tell of a Node":                    create(events, event("regarding", `{apiVersion: v1, kind: Node, name: cp-1}`)),
	"tell of a NetworkPolicy of others": create(events, event("regarding", `{apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, namespace: default, name: theirs}`)),
	"tell of a pod, old way":            create(oldEvent, event("involvedObject", `{apiVersion: v1, kind: Pod, namespace: default, name: x}`)),
	"report of others":                  patch(reports+"/theirs", `{summary: {fail: 0}}`),
	"report of others taken":            patch(reports+"/theirs", `{metadata: {labels: {cpnp.dev/policy: theirs}}}`),
	"report of the name taken":          patch(reports+"/cpnp-theirs", `{metadata: {labels: {cpnp.dev/policy: theirs}}}`),
	"report of another name":            create(reports, report("openreports.io/v1alpha1", "ClusterReport", "other", "plane")),
	"report of another policy":          create(reports, report("openreports.io/v1alpha1", "ClusterReport", "cpnp-other", "plane")),
	"report without label":              create(reports, `{apiVersion: openreports.io/v1alpha1, kind: ClusterReport, metadata: {name: cpnp-x}}`),
	"report loses its label":            patch(reports+"/cpnp-plane", `{metadata: {labels: {cpnp.dev/policy: null}}}`),
	"report gets a label":               patch(reports+"/cpnp-plane", `{metadata: {labels: {example.com/x: z}}}`),
	"report loses a finalizer":          patch(reports+"/cpnp-plane", `{metadata: {finalizers: null}}`),
	"report gets an owner":              patch(reports+"/cpnp-plane", `{metadata: {ownerReferences: [{apiVersion: v1, kind: Node, name: x, uid: "1"}]}}`),
	"old report of another name":        create(oldReports, report("wgpolicyk8s.io/v1alpha2", "ClusterPolicyReport", "other", "plane")),
	"another lease":                     create(strings.TrimSuffix(leases, "/"), `{apiVersion: coordination.k8s.io/v1, kind: Lease, metadata: {name: thief}}`),
}

// report returns a report of a policy.
func report(version, kind, name, policy string) string {
	return fmt.Sprintf("{apiVersion: %s, kind: %s, metadata: {name: %s, labels: {cpnp.dev/policy: %s, app.kubernetes.io/managed-by: cpnp-operator}, "+
		"ownerReferences: [{apiVersion: cpnp.dev/v1alpha1, kind: ControlPlaneNetworkPolicy, name: plane, uid: '1'}]}, summary: {pass: 1}}", version, kind, name, policy)
}

func manyTaints(number int) string {
	var taints []string
	for i := range number {
		taints = append(taints, fmt.Sprintf("{key: example.com/taint-%d, effect: NoSchedule}", i))
	}
	return strings.Join(taints, ", ")
}

// A stolen token of the operator allows only the writes of the operator.
func TestStolenOperatorTokenAllowsOnlyTheOperatorsWrites(t *testing.T) {
	refused := operator.expectAll(t, admitted, nobody) + operator.expectAll(t, confined, admission) + operator.expectAll(t, ungranted(), rbac)
	NewWithT(t).Expect(refused).To(BeNumerically(">=", 150))
}

// expectAll tries all writes, checks who refuses them, and returns how many were refused.
func (th thief) expectAll(t *testing.T, writes map[string]write, want string) (refused int) {
	t.Helper()
	names := make([]string, 0, len(writes))
	for name := range writes {
		names = append(names, name)
	}
	slices.Sort(names)
	by := map[string]int{}
	for _, name := range names {
		w := writes[name]
		who, why := th.tries(t, w, want)
		t.Logf("%-12s %-32s %-10s %-40s %s %s", th.name, name, who, why, w.method, w.path)
		if who != want {
			t.Errorf("%s: %s %s %s: %s (%s), want %s", name, w.method, w.path, w.body, who, why, want)
		}
		by[who]++
	}
	t.Logf("%s: %d writes: %v", th.name, len(writes), by)
	return len(writes) - by[nobody]
}
