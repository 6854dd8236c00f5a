// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"net/netip"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

func TestComponentsThatSelectTheOperator(t *testing.T) {
	tcp := func(port, end int32) []v1alpha1.Port {
		return []v1alpha1.Port{{Protocol: "TCP", Port: port, EndPort: end}}
	}
	to := func(role v1alpha1.PeerRole, ports ...v1alpha1.Port) v1alpha1.Destination {
		return v1alpha1.Destination{Role: role, Ports: ports}
	}
	members, peer := v1alpha1.RoleControlPlane, v1alpha1.Destination{Peer: "far"}
	udp53 := v1alpha1.Port{Protocol: "UDP", Port: 53}
	everything := v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelSelectorRequirement{{Key: "nobody", Operator: "DoesNotExist"}}}
	for name, test := range map[string]struct {
		namespace string
		selector  v1alpha1.LabelSelector
		to        []v1alpha1.Destination
		change    func(*state.Snapshot)
		// a part of the reason of the hold; empty for no hold
		says string
	}{
		"another namespace":         {namespace: "kube-system", to: []v1alpha1.Destination{peer}},
		"other pods":                {selector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": "other"}}, to: []v1alpha1.Destination{peer}},
		"only incoming connections": {},
		"the API servers":           {to: []v1alpha1.Destination{to(members, tcp(6443, 0)...)}},
		"a range of ports":          {to: []v1alpha1.Destination{to(members, tcp(6000, 7000)...)}},
		"every port":                {to: []v1alpha1.Destination{to(members)}},
		"another port":              {to: []v1alpha1.Destination{to(members, tcp(443, 0)...)}, says: "could then not reach the API server at 10.0.0.1:6443"},
		"another protocol":          {to: []v1alpha1.Destination{to(members, v1alpha1.Port{Protocol: "UDP", Port: 6443})}, says: "10.0.0.1:6443"},
		"no address of the cluster": {to: []v1alpha1.Destination{peer}, says: "add {role: ControlPlane, ports: [{protocol: TCP, port: 6443}]} to allowTo of the component"},
		"only pods":                 {to: []v1alpha1.Destination{to(v1alpha1.RolePods)}, says: "10.0.0.1:6443"},
		"all pods but some":         {selector: everything, to: []v1alpha1.Destination{peer}, says: "the operator's own pod cpnp-system/operator-a"},
		"only the standby": {selector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"turn": "second"}},
			to: []v1alpha1.Destination{peer}, says: "the operator's own pod cpnp-system/operator-b"},
		"in the node's network": {to: []v1alpha1.Destination{peer}, change: func(s *state.Snapshot) {
			for i := range s.Operator.Running {
				s.Operator.Running[i].Spec.HostNetwork = true
			}
		}},
		"outside of the cluster": {to: []v1alpha1.Destination{peer}, change: func(s *state.Snapshot) { s.Operator = state.Operator{} }},
		"not found":              {to: []v1alpha1.Destination{peer}, change: func(s *state.Snapshot) { s.Operator.Running = nil }, says: "POD_NAME"},
		"unknown API servers":    {to: []v1alpha1.Destination{peer}, change: func(s *state.Snapshot) { s.Facts.APIServer = nil }, says: "not known now"},
		"by name, without DNS":   {to: []v1alpha1.Destination{to(members, tcp(6443, 0)...)}, change: func(s *state.Snapshot) { s.Operator.Server = "api.example.com" }, says: "{role: Pods, ports: [{protocol: UDP, port: 53}"},
		"by name, with DNS":      {to: []v1alpha1.Destination{to(members, tcp(6443, 0)...), to(v1alpha1.RolePods, udp53)}, change: func(s *state.Snapshot) { s.Operator.Server = "api.example.com" }},
		"an API server that is not allowed": {to: []v1alpha1.Destination{{Peer: "first", Ports: tcp(6443, 0)}}, change: func(s *state.Snapshot) {
			s.Facts.APIServer = append(s.Facts.APIServer, netip.MustParseAddrPort("10.0.0.2:6443"))
		}, says: "API server at 10.0.0.2:6443"},
	} {
		t.Run(name, func(t *testing.T) {
			component := v1alpha1.Component{Name: "manager", Pods: &v1alpha1.PodSelector{Namespace: "cpnp-system", Selector: test.selector}, AllowTo: test.to}
			if test.namespace != "" {
				component.Pods.Namespace = test.namespace
			}
			if len(test.selector.MatchLabels)+len(test.selector.MatchExpressions) == 0 {
				component.Pods.Selector.MatchLabels = map[string]v1alpha1.LabelValue{"app": "operator"}
			}
			if len(test.to) == 0 {
				component.Ports, component.AllowFrom = tcp(8443, 0), []v1alpha1.PeerReference{{Peer: "far"}}
			}
			policies := Compile([]v1alpha1.ControlPlaneNetworkPolicy{{
				ObjectMeta: metav1.ObjectMeta{Name: "p"},
				Spec: v1alpha1.ControlPlaneNetworkPolicySpec{
					NodeSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"node-role.kubernetes.io/control-plane": ""}},
					Network: &v1alpha1.NetworkSpec{
						Peers:      []v1alpha1.Peer{{Name: "far", CIDRs: []v1alpha1.CIDR{"192.0.2.0/24"}}, {Name: "first", CIDRs: []v1alpha1.CIDR{"10.0.0.1/32"}}},
						Components: []v1alpha1.Component{component},
					},
				},
			}})
			running := func(name, turn string) corev1.Pod {
				return corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "cpnp-system", Name: name, Labels: map[string]string{"app": "operator", "turn": turn}}}
			}
			snapshot := state.Snapshot{Operator: state.Operator{
				Own:     state.Own{Pod: types.NamespacedName{Namespace: "cpnp-system", Name: "operator-a"}},
				Running: []corev1.Pod{running("operator-a", "first"), running("operator-b", "second")},
			}}
			snapshot.Facts.APIServer = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:6443")}
			if test.change != nil {
				test.change(&snapshot)
			}
			g, network := NewWithT(t), NetworkPolicies(&policies[0], policies, snapshot)
			if test.says == "" {
				g.Expect(network.Held).To(BeEmpty())
				g.Expect(network.Objects).To(HaveLen(1))
				return
			}
			g.Expect(network.Objects).To(BeEmpty())
			g.Expect(network.Held).To(HaveLen(1))
			g.Expect(network.Held[0]).To(And(HaveField("Reason", v1alpha1.ReasonOperatorCutOff), HaveField("Component", "manager"), HaveField("Why", ContainSubstring(test.says))))
		})
	}
}
