// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

const (
	// small is the memory of an operator that has 1.1 MiB for policies.
	small = 16 << 20
	// enough objects of one size do not fit into that memory.
	enough, size = 40, 64 << 10
)

// flooded are kinds that the author of one tier may write, each with one
// object of the operator and many foreign objects.
var flooded = map[string]func(meta metav1.ObjectMeta, text string) client.Object{
	"globalnetworkpolicies": func(meta metav1.ObjectMeta, text string) client.Object {
		p := &v3.GlobalNetworkPolicy{ObjectMeta: meta, Spec: v3.GlobalNetworkPolicySpec{Selector: text}}
		if p.Spec.Tier = "theirs"; strings.HasPrefix(meta.Name, "cpnp") {
			p.Spec.Tier = ownTier
		}
		return p
	},
	"globalnetworksets": func(meta metav1.ObjectMeta, text string) client.Object {
		return &v3.GlobalNetworkSet{ObjectMeta: meta, Spec: v3.GlobalNetworkSetSpec{Nets: []string{text}}}
	},
	"hostendpoints": func(meta metav1.ObjectMeta, text string) client.Object {
		return &v3.HostEndpoint{ObjectMeta: meta, Spec: v3.HostEndpointSpec{ExpectedIPs: []string{text}}}
	},
	"felixconfigurations": func(meta metav1.ObjectMeta, text string) client.Object {
		return &v3.FelixConfiguration{ObjectMeta: meta, Spec: v3.FelixConfigurationSpec{LogFilePath: text}}
	},
}

var own = metav1.ObjectMeta{Name: "cpnp.own", ResourceVersion: "5", Labels: map[string]string{v1alpha1.LabelPolicy: "p"}}

// flood adds more objects than fit, and one of the operator.
func flood(s *server, name string, of func(metav1.ObjectMeta, string) client.Object, count int, labels map[string]string) {
	s.of(name).set(func(r *resource) {
		r.objects = []runtime.Object{of(*own.DeepCopy(), "")}
		for i := range count {
			m := meta(fmt.Sprint("theirs.", i), "7")
			m.Labels = labels
			r.objects = append(r.objects, of(m, strings.Repeat("x", size)))
		}
	})
}

// kept returns the names of all objects of the flooded kinds that the follower has.
func (w *world) kept() (names []string) {
	c := w.Read()
	for i := range c.Policies {
		names = append(names, c.Policies[i].Name)
	}
	for i := range c.Sets {
		names = append(names, c.Sets[i].Name)
	}
	for i := range c.Endpoints {
		names = append(names, c.Endpoints[i].Name)
	}
	for i := range c.Felix {
		names = append(names, c.Felix[i].Name)
	}
	return names
}

// Where foreign objects fill a kind, the kind is reported, and only the
// operator's objects are kept until the foreign objects are gone.
func TestKindThatIsTooLarge(t *testing.T) {
	for name, of := range flooded {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(s *server) { s.memory = small; flood(s, name, of, enough, nil) }, func(w *world) {
				c := w.Read()
				w.Expect(c.Problem).To(BeEmpty(), "the operator's objects can be rolled back")
				w.Expect(c.IsReadable()).To(BeTrue())
				w.Expect(c.TooLarge).To(And(ContainSubstring("than the "), ContainSubstring("theirs."),
					ContainSubstring("kubectl get "+name+".projectcalico.org"), ContainSubstring("raise the memory limit of the operator, which is 16 MiB")))
				w.Expect(w.kept()).To(ConsistOf("cpnp.own"))
				w.Expect(w.of(name).asked.LabelSelector).To(Equal(v1alpha1.LabelPolicy), "only the operator's objects are watched")

				changes, lists := w.changes.Load(), w.of(name).lists
				pass(10 * time.Minute)
				w.Expect(w.changes.Load()).To(Equal(changes))
				w.Expect(w.of(name).lists-lists).To(BeNumerically("~", 10*time.Minute/timing.CalicoMeasureLast, 3), "the kind is measured from time to time")

				w.of(name).set(func(r *resource) { r.objects = r.objects[:2] })
				pass(timing.CalicoMeasureLast)
				w.Expect(w.Read().TooLarge).To(BeEmpty())
				w.Expect(w.kept()).To(ConsistOf("cpnp.own", "theirs.0"))
				w.Expect(w.of(name).asked.LabelSelector).To(BeEmpty(), "all objects are watched again")
				w.Expect(w.changes.Load()).To(BeNumerically(">", changes))
			})
		})
	}
}

// A kind that grows while it is watched is treated the same way.
func TestKindThatBecomesTooLarge(t *testing.T) {
	for name, of := range flooded {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(s *server) { s.memory = small; flood(s, name, of, 1, nil) }, func(w *world) {
				w.Expect(w.Read().TooLarge).To(BeEmpty())
				flood(w.server, name, of, enough, nil)
				watch := w.of(name).watch
				for i := 0; i < enough && !watch.IsStopped(); i++ {
					watch.Add(of(meta(fmt.Sprint("theirs.", i), "8"), strings.Repeat("x", size)))
					pass(0)
				}
				w.Expect(w.Read().TooLarge).NotTo(BeEmpty())
				w.Expect(w.Read().Problem).To(BeEmpty())
				w.Expect(w.kept()).To(ConsistOf("cpnp.own"))

				w.of(name).watch.Modify(of(metav1.ObjectMeta{Name: "cpnp.other", ResourceVersion: "9", Labels: own.Labels}, ""))
				pass(0)
				w.Expect(w.kept()).To(ConsistOf("cpnp.own", "cpnp.other"), "the operator's new objects are seen")
			})
		})
	}
}

// The operator's label does not make a policy in another tier the operator's.
// Objects of other kinds with the label are a problem if even these are too large.
func TestTooLargeWithTheLabelOfTheOperator(t *testing.T) {
	for name, of := range flooded {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(s *server) { s.memory = small; flood(s, name, of, enough, own.Labels) }, func(w *world) {
				w.Expect(w.Read().TooLarge).NotTo(BeEmpty())
				if name == "globalnetworkpolicies" {
					w.Expect(w.Read().Problem).To(BeEmpty())
					w.Expect(w.kept()).To(ConsistOf("cpnp.own"))
					there, err := w.ReadNow(t.Context())
					w.Expect(err).NotTo(HaveOccurred())
					w.Expect(there.Policies).To(ConsistOf(HaveField("Name", "cpnp.own")))
					w.of(name).watch.Add(of(metav1.ObjectMeta{Name: "theirs.new", ResourceVersion: "9", Labels: own.Labels}, ""))
					pass(0)
					w.Expect(w.kept()).To(ConsistOf("cpnp.own"), "objects from a watch are dropped too")
					return
				}
				w.Expect(w.Read().Problem).To(And(ContainSubstring("cannot be read: of the objects with the label cpnp.dev/policy alone"),
					ContainSubstring("delete those that the operator did not make")))
				lists := w.of(name).lists
				pass(10 * time.Minute)
				w.Expect(w.of(name).lists-lists).To(BeNumerically("<", 150), "the retries become less frequent")
				w.of(name).set(func(r *resource) { r.objects = r.objects[:1] })
				pass(time.Minute)
				w.Expect(w.Read().Problem).To(BeEmpty())
				w.Expect(w.Read().TooLarge).To(BeEmpty())
				w.Expect(w.kept()).To(ConsistOf("cpnp.own"))
			})
		})
	}
}

// A look at the API server is bounded as well, and reports a kind that is too large.
func TestLookAtAKindThatIsTooLarge(t *testing.T) {
	for name, of := range flooded {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(s *server) { s.memory = small; flood(s, name, of, 1, nil) }, func(w *world) {
				flood(w.server, name, of, enough, nil) // no watch has reported yet
				there, err := w.ReadNow(t.Context())
				w.Expect(err).NotTo(HaveOccurred())
				w.Expect(there.TooLarge).NotTo(BeEmpty())
				w.Expect(len(there.Policies) + len(there.Sets) + len(there.Endpoints) + len(there.Felix)).To(Equal(1))
				pass(0)
				w.Expect(w.Read().TooLarge).To(Equal(there.TooLarge))
				w.Expect(w.kept()).To(ConsistOf("cpnp.own"))

				lists := w.of(name).lists
				there, err = w.ReadNow(t.Context())
				w.Expect(err).NotTo(HaveOccurred())
				w.Expect(there.TooLarge).NotTo(BeEmpty())
				w.Expect(w.of(name).lists).To(Equal(lists+1), "the other kinds are not requested again")
			})
		})
	}
}

// Metadata that is not kept does not count, but its reading is bounded.
func TestForeignMetadataIsBounded(t *testing.T) {
	annotated := func(count int) func(*server) {
		return func(s *server) {
			s.memory = small
			for i := range count {
				m := meta(fmt.Sprint("theirs.", i), "7")
				m.Annotations = map[string]string{"full": strings.Repeat("x", size)}
				s.of("globalnetworksets").objects = append(s.of("globalnetworksets").objects, &v3.GlobalNetworkSet{ObjectMeta: m})
			}
		}
	}
	bubble(t, annotated(enough), func(w *world) {
		w.Expect(w.Read().TooLarge).To(BeEmpty())
		w.Expect(w.Read().Sets).To(HaveLen(enough))
	})
	bubble(t, annotated(2*enough), func(w *world) {
		w.Expect(w.Read().TooLarge).To(HavePrefix("the list of the kind GlobalNetworkSet has more than the 3 MiB that the operator reads"))
	})
}

// An object that is listed again in the same version is kept once.
func TestAnObjectListedAgainIsKeptOnce(t *testing.T) {
	bubble(t, func(s *server) {
		s.of("globalnetworksets").objects = []runtime.Object{&v3.GlobalNetworkSet{
			ObjectMeta: meta("theirs", "7"), Spec: v3.GlobalNetworkSetSpec{Nets: []string{"10.0.0.0/8"}},
		}}
	}, func(w *world) {
		before := &w.Read().Sets[0].Spec.Nets[0]
		there, err := w.ReadNow(t.Context())
		w.Expect(err).NotTo(HaveOccurred())
		w.Expect(&there.Sets[0].Spec.Nets[0]).To(BeIdenticalTo(before))
	})
}

// A late finding that all objects of a kind are too large says nothing about the operator's
// own objects, which have been read by then.
func TestLateFindingIsNoFailure(t *testing.T) {
	g := NewWithT(t)
	p := &progress{}
	p.setTooLarge(&tooLarge{}, false)
	g.Expect(p.ownOnly).To(BeTrue())
	p.setTooLarge(&tooLarge{}, false)
	g.Expect(p.late).To(BeFalse())
	p.setTooLarge(&tooLarge{}, true)
	g.Expect(p.late).To(BeTrue())
}
