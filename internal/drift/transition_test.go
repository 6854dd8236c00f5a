// SPDX-License-Identifier: Apache-2.0

package drift_test

import (
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
)

// allowing is a policy of the operator that allows these peers, and denies if there are none.
func allowing(name string, nets ...string) *v3.GlobalNetworkPolicy {
	p := &v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "cpnp.dns-" + name, Labels: map[string]string{v1alpha1.LabelPolicy: "dns"}}}
	p.Spec = v3.GlobalNetworkPolicySpec{Tier: "cpnp", Order: ptr.To(100.0), Selector: "all()"}
	for _, net := range nets {
		p.Spec.Ingress = append(p.Spec.Ingress, v3.Rule{Action: v3.Allow, Source: v3.EntityRule{Nets: []string{net}}})
	}
	if len(nets) == 0 {
		p.Spec.Order, p.Spec.Ingress = ptr.To(1000.0), []v3.Rule{{Action: v3.Deny}}
	}
	return p
}

func setOf(name string, nets ...string) *v3.GlobalNetworkSet {
	s := &v3.GlobalNetworkSet{ObjectMeta: metav1.ObjectMeta{Name: "cpnp-dns-" + name, Labels: map[string]string{v1alpha1.LabelPolicy: "dns"}}}
	s.Spec.Nets = nets
	return s
}

// stampedAs gives an object the stamp of its content, as the operator does when it writes.
func stampedAs[T plan.Object](g Gomega, object T) T {
	g.Expect(plan.Stamp(object)).To(Succeed())
	object.SetManagedFields(entriesOf(owns(v1alpha1.FieldManagerNetwork, apply, 1,
		path("metadata", "annotations", v1alpha1.AnnotationDesiredHash), path("metadata", "annotations", v1alpha1.AnnotationRendererVersion))))
	object.SetResourceVersion("7")
	return object
}

func hostDiff(g Gomega, desired []plan.Object, there calico.Live) drift.Diff {
	policies := compile(policy("dns"))
	for _, object := range desired {
		g.Expect(plan.Stamp(object)).To(Succeed())
	}
	there.Mode = calico.Native
	return drift.CompareHosts(&policies[0], policies, plan.Hosts{Objects: desired}, there)
}

func steps(g Gomega, writes []drift.Write) []string {
	var steps []string
	for _, w := range writes {
		text := w.Object.Name
		if w.Desired == nil {
			text = "delete " + text
		}
		switch o := w.Desired.(type) {
		case *v3.GlobalNetworkSet:
			for _, net := range o.Spec.Nets {
				text += " " + net
			}
		case *v3.GlobalNetworkPolicy:
			for _, rule := range o.Spec.Ingress {
				for _, net := range rule.Source.Nets {
					text += " " + net
				}
			}
		}
		steps = append(steps, text)
	}
	return steps
}

// New intent first adds peers, and removes peers last.
func TestWritesThatAllowLessComeLast(t *testing.T) {
	const a, b, c = "10.0.0.1/32", "10.0.0.2/32", "10.0.0.3/32"
	tests := map[string]struct {
		desired          []plan.Object
		there            func(Gomega) calico.Live
		writes, removals []string
	}{
		"A policy that allows more is written": {
			[]plan.Object{allowing("self", a, b)},
			func(g Gomega) calico.Live {
				return calico.Live{Policies: []v3.GlobalNetworkPolicy{*stampedAs(g, allowing("self", a))}}
			},
			[]string{"cpnp.dns-self " + a + " " + b}, nil,
		},
		"A policy that allows less is written after the other writes": {
			[]plan.Object{allowing("self", a)},
			func(g Gomega) calico.Live {
				return calico.Live{Policies: []v3.GlobalNetworkPolicy{*stampedAs(g, allowing("self", a, b)), *stampedAs(g, allowing("deny"))}}
			},
			nil, []string{"delete cpnp.dns-deny", "cpnp.dns-self " + a},
		},
		"A policy with other peers first allows both": {
			[]plan.Object{allowing("self", a, c)},
			func(g Gomega) calico.Live {
				return calico.Live{Policies: []v3.GlobalNetworkPolicy{*stampedAs(g, allowing("self", a, b))}}
			},
			[]string{"cpnp.dns-self " + a + " " + c + " " + b}, nil,
		},
		"A set with other addresses first has both": {
			[]plan.Object{setOf("nodes-0", a, c)},
			func(g Gomega) calico.Live {
				return calico.Live{Sets: []v3.GlobalNetworkSet{*stampedAs(g, setOf("nodes-0", a, b))}}
			},
			[]string{"cpnp-dns-nodes-0 " + a + " " + c + " " + b}, nil,
		},
		"A set that is split first gets the new one": {
			[]plan.Object{setOf("nodes-0", a, c), setOf("nodes-1", b)},
			func(g Gomega) calico.Live {
				return calico.Live{Sets: []v3.GlobalNetworkSet{*stampedAs(g, setOf("nodes-0", a, b))}}
			},
			[]string{"cpnp-dns-nodes-1 " + b, "cpnp-dns-nodes-0 " + a + " " + c + " " + b}, nil,
		},
		"A foreign addition is removed at once": {
			[]plan.Object{allowing("self", a)},
			func(g Gomega) calico.Live {
				live := stampedAs(g, allowing("self", a))
				live.Spec.Ingress = allowing("self", a, b).Spec.Ingress
				return calico.Live{Policies: []v3.GlobalNetworkPolicy{*live}}
			},
			[]string{"cpnp.dns-self " + a}, nil,
		},
		"A denying policy is changed at once": {
			[]plan.Object{allowing("deny")},
			func(g Gomega) calico.Live {
				live := allowing("deny")
				live.Spec.Ingress = append(live.Spec.Ingress, v3.Rule{Action: v3.Deny})
				return calico.Live{Policies: []v3.GlobalNetworkPolicy{*stampedAs(g, live)}}
			},
			[]string{"cpnp.dns-deny"}, nil,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			diff := hostDiff(g, test.desired, test.there(g))
			g.Expect(steps(g, diff.Writes)).To(Equal(test.writes), "writes")
			g.Expect(steps(g, diff.Removals)).To(Equal(test.removals), "removals")
		})
	}
}
