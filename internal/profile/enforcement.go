// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"fmt"
	"slices"
	"strings"
)

// Enforcement is the effect of Kubernetes NetworkPolicies in a cluster.
type Enforcement struct {
	// Enforced says whether NetworkPolicies have any effect: Always, Never or NotKnown.
	Enforced Support
	// Why says in a sentence how the effect was detected, and what to do.
	Why string
	// NodesIgnored says why an ipBlock selects neither nodes nor API servers, and
	// Remedy says what to do. Both are empty if an ipBlock selects nodes and API
	// servers.
	NodesIgnored, Remedy string
	// Ranges is a doubt about ranges of ports; empty if there is none.
	Ranges string
}

// DetectEnforcement returns the effect of NetworkPolicies. cni is the CNI set by the
// policy; empty if the CNI has to be detected.
func DetectEnforcement(facts Facts, cni string) Enforcement {
	facts.Nodes = sortByName(facts.Nodes)
	l, err := library()
	if err != nil {
		return Enforcement{Enforced: NotKnown, Why: err.Error()}
	}
	signs := l.keepCNI(pluginSigns(facts), cni)
	signs = append(signs, k3sSign(facts, signs)...)
	found := Enforcement{Enforced: NotKnown, Why: "there is no DaemonSet of a CNI that is known"}
	best := 0
	for _, s := range signs {
		if layer, known := l.findPlugin(s.value); known {
			best = found.addPlugin(facts, s, layer, best)
		}
	}
	return found
}

// keepCNI returns the signs if the policy sets the CNI: signs of other CNIs are left
// out, except for Calico, which may enforce policies beside another CNI.
func (l Library) keepCNI(signs []sign, cni string) []sign {
	if cni == "" {
		return signs
	}
	signs = slices.DeleteFunc(signs, func(s sign) bool {
		_, another := l.cnis[s.value]
		return another && s.value != cni && s.value != calico
	})
	if !slices.ContainsFunc(signs, func(s sign) bool { return s.value == cni }) {
		signs = append(signs, sign{value: cni, found: "spec.profile.cni is " + cni})
	}
	return signs
}

// supportWeight orders several plugins: the heaviest decides, because a single plugin that
// enforces is enough.
var supportWeight = map[Support]int{Always: 3, Depends: 2, NotKnown: 1, Never: 1}

// addPlugin adds the effect that a plugin has on NetworkPolicies, if the plugin's
// weight is greater than the best weight so far, and returns the new best weight.
func (e *Enforcement) addPlugin(facts Facts, s sign, layer Layer, best int) int {
	does := layer.NetworkPolicies
	enforced, why := does.Enforced, s.found
	if s.value == cilium {
		enforced, why = ciliumEnforces(facts.ConfigMaps[ciliumConfig], s.found)
		if enforced == Always && !ciliumSelectsNodes(facts.ConfigMaps[ciliumConfig]) {
			e.NodesIgnored, e.Remedy = "Cilium takes no ipBlock for these unless "+matchMode+" has nodes", ciliumRemedy
		}
	}
	if enforced == Always && does.EndPort != Always && does.EndPort != NotKnown {
		e.Ranges = portRangeDoubt(layer)
	}
	if supportWeight[enforced] <= best {
		return best
	}
	e.Enforced, e.Why = enforced, why
	switch enforced {
	case Depends:
		e.Enforced, e.Why = NotKnown, why+" ("+layer.Title+"). "+does.Depends
	case Never:
		e.Why += ", and " + layer.Title + " enforces no NetworkPolicy"
	}
	return supportWeight[enforced]
}

// k3sSign returns a sign of the network policy controller of k3s, which runs beside the
// flannel of k3s, unless an argument of the servers disables the controller.
func k3sSign(facts Facts, signs []sign) []sign {
	if !slices.ContainsFunc(signs, func(s sign) bool { return s.value == flannel }) {
		return nil
	}
	servers := controlPlaneNodes(facts)
	i := slices.IndexFunc(servers, func(n Node) bool { return strings.Contains(n.KubeletVersion, "+k3s") })
	if i < 0 || slices.ContainsFunc(servers, func(n Node) bool { return n.WithoutNetworkPolicies }) {
		return nil
	}
	return []sign{{value: k3sOwn, found: fmt.Sprintf("node %s has the kubelet version %s, and k3s has a network policy controller",
		servers[i].Name, servers[i].KubeletVersion)}}
}

// ciliumEnforces says whether Cilium's settings leave NetworkPolicies in force
// (enable-policy and enable-k8s-networkpolicy,
// https://docs.cilium.io/en/stable/security/network/policyenforcement/).
func ciliumEnforces(settings map[string]string, found string) (Support, string) {
	for _, off := range [][2]string{{enablePolicy, "never"}, {enableNetworkPolicy, "false"}} {
		if settings[off[0]] == off[1] {
			return Never, fmt.Sprintf("%s, and the ConfigMap %s has %s: %s", found, ciliumConfig, off[0], off[1])
		}
	}
	return Always, found
}

// ciliumRemedy lists the two ways that work: the setting, or a rule in a Cilium policy.
var ciliumRemedy = fmt.Sprintf("Set it, from Cilium 1.15 on (policyCIDRMatchMode=nodes in Helm): "+
	`kubectl -n %[1]s patch configmap %[2]s --type merge -p '{"data":{"%[3]s":"nodes"}}' && `+
	"kubectl -n %[1]s rollout restart daemonset/cilium. Or leave these peers out, and allow the entities host, remote-node and "+
	"kube-apiserver in a CiliumNetworkPolicy", ciliumConfig.Namespace, ciliumConfig.Name, matchMode)

// ciliumSelectsNodes says whether an ipBlock selects nodes with Cilium's settings.
func ciliumSelectsNodes(settings map[string]string) bool {
	return slices.Contains(strings.FieldsFunc(settings[matchMode], func(r rune) bool { return r == ' ' || r == ',' }), "nodes")
}

func portRangeDoubt(layer Layer) string {
	if layer.NetworkPolicies.EndPort == Never {
		return layer.Title + " does not support endPort"
	}
	return layer.Title + " before 1.16 takes a range of ports for its first port"
}
