// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/calicotest"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// A node selector on labels that kubelets can set lets every kubelet declare its node a part of the control plane.
func TestSelectorThatKubeletsCanMatchIsReported(t *testing.T) {
	labels := func(keys ...string) v1alpha1.LabelSelector {
		selector := v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{}}
		for _, key := range keys {
			selector.MatchLabels[key] = ""
		}
		return selector
	}
	expression := func(operator v1alpha1.LabelSelectorOperator) v1alpha1.LabelSelector {
		return v1alpha1.LabelSelector{MatchExpressions: []v1alpha1.LabelSelectorRequirement{{Key: "node-role.kubernetes.io/control-plane", Operator: operator}}}
	}
	for name, test := range map[string]struct {
		selector v1alpha1.LabelSelector
		want     string
	}{
		"the label of the control plane":                    {labels("node-role.kubernetes.io/control-plane"), ""},
		"a label that NodeRestriction protects":             {labels("acme.node-restriction.kubernetes.io/etcd"), ""},
		"a protected label and an unprotected one":          {labels("node-role.kubernetes.io/control-plane", "disk"), ""},
		"an expression":                                     {expression("Exists"), ""},
		"an expression that requires a label to be missing": {expression("DoesNotExist"), "no label at all"},
		"a label without a domain":                          {labels("etcd"), "(etcd)"},
		"a label of a custom domain":                        {labels("acme.example/etcd", "disk"), "(acme.example/etcd, disk)"},
		"a label that kubelets set":                         {labels("node.kubernetes.io/instance-type"), "(node.kubernetes.io/instance-type)"},
		"nothing":                                           {labels(), "no label at all"},
	} {
		t.Run(name, func(t *testing.T) {
			policies := compile(policy("p", etcd, func(p *v1alpha1.ControlPlaneNetworkPolicy) { p.Spec.NodeSelector = test.selector }))
			hosts := plan.HostProtection(&policies[0], policies, machines(machine("cp-1", "10.0.0.1")))
			told := ContainElement(And(ContainSubstring("spec.nodeSelector selects by"), ContainSubstring(test.want)))
			if test.want == "" {
				told = Not(told)
			}
			NewWithT(t).Expect(hosts.Notes).To(told)
		})
	}
}

// An invalid tunnel address is not allowed, and is reported.
func TestTunnelOutsideOfItsNetworkLetsNobodyIn(t *testing.T) {
	g := NewWithT(t)
	cp, worker := machine("cp-1", "10.0.0.1"), machine("worker-1", "10.0.0.9")
	cp.Labels = map[string]string{"node-role.kubernetes.io/control-plane": ""}
	worker.Annotations = map[string]string{"projectcalico.org/IPv4VXLANTunnelAddr": "203.0.113.7"}
	policies := compile(policy("p", etcd, func(p *v1alpha1.ControlPlaneNetworkPolicy) {
		p.Spec.Network.Components[0].AllowFrom = []v1alpha1.PeerReference{{Role: v1alpha1.RoleNodes}}
	}))
	snapshot := machines(cp, worker)
	told := ContainElement(And(ContainSubstring("worker-1: 203.0.113.7"), ContainSubstring("are let in nowhere")))
	nets := func() (nets []string) {
		for _, object := range plan.HostProtection(&policies[0], policies, snapshot).Objects {
			if set, is := object.(*v3.GlobalNetworkSet); is {
				nets = append(nets, set.Spec.Nets...)
			}
		}
		return nets
	}
	g.Expect(nets()).To(ContainElement(ContainSubstring("203.0.113.7")), "no pool is known")
	g.Expect(plan.HostProtection(&policies[0], policies, snapshot).Notes).NotTo(told)
	calicotest.Edit(&snapshot.Backend, func(c *calico.Live) { c.Pools = []v3.IPPool{{Spec: v3.IPPoolSpec{CIDR: "10.244.0.0/16"}}} })
	g.Expect(nets()).NotTo(ContainElement(ContainSubstring("203.0.113.7")))
	g.Expect(plan.HostProtection(&policies[0], policies, snapshot).Notes).To(told)
}
