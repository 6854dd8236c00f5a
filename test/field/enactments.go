// SPDX-License-Identifier: Apache-2.0

package field

import (
	"context"
	"fmt"
	"strings"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
	"github.com/cpnp-dev/cpnp-operator/internal/rollout"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
)

// Observers runs an observer on each of the nodes, as the DaemonSet does, but
// with connections from within the node's network.
func (f *Field) Observers(nodes ...string) {
	f.T.Helper()
	for _, node := range nodes {
		f.Observer(node)
	}
}

// Observer runs one, and returns what ends it, which is also done when the test
// ends.
func (f *Field) Observer(node string) (stop func()) {
	f.T.Helper()
	mgr, err := operator.NewManager(ControlPlane.Config)
	f.Expect(err).NotTo(HaveOccurred())
	f.Expect(probe.Setup(mgr, &probe.Observer{Name: node, Dial: f.Cluster.Machine(node).DialContext})).To(Succeed())
	return f.start(mgr)
}

// Phase returns the phase of a node and why it is in it.
func Phase(node string) func() string {
	return func() string {
		e := EnactmentOf(node)
		if e == nil {
			return "none"
		}
		is := rollout.PhaseOf(e)
		if c := meta.FindStatusCondition(e.Status.Conditions, is); c != nil {
			return is + "/" + c.Reason
		}
		return is
	}
}

// EnactmentOf is the enactment of a node; nil if there is none.
func EnactmentOf(node string) *v1alpha1.ControlPlaneNodeEnactment {
	e := &v1alpha1.ControlPlaneNodeEnactment{}
	if err := Admin.Get(context.Background(), client.ObjectKey{Name: rollout.Name(PolicyName, node)}, e); err != nil {
		return nil
	}
	return e
}

// Told is what the enactment of a node says of its phase.
func Told(node string) string {
	e := EnactmentOf(node)
	if c := meta.FindStatusCondition(e.Status.Conditions, rollout.PhaseOf(e)); c != nil {
		return c.Message
	}
	return ""
}

// Phases waits until the control-plane nodes, in their order, are in these phases for
// these reasons.
func (f *Field) Phases(want ...string) {
	f.T.Helper()
	for i, phaseAndReason := range want {
		f.Eventually(Phase(fmt.Sprintf("cp-%d", i+1)), Patience, Tick).Should(Equal(phaseAndReason), Enactments)
	}
}

// Touched returns the nodes that ever had an endpoint of ours while the test
// goes on.
func (f *Field) Touched() func() string {
	f.T.Helper()
	seen := map[string]bool{}
	w := f.WatchAPI(func(note func(string)) {
		var list v3.HostEndpointList
		if Admin.List(context.Background(), &list) != nil {
			return
		}
		for _, e := range list.Items {
			if strings.HasPrefix(e.Name, "cpnp-") && !seen[e.Spec.Node] {
				seen[e.Spec.Node] = true
				note(e.Spec.Node)
			}
		}
	})
	return func() string {
		var nodes []string
		for _, note := range w.Stop() {
			nodes = append(nodes, note[strings.LastIndex(note, " ")+1:])
		}
		return strings.Join(nodes, " ")
	}
}

// Foreign is a policy of somebody else, in a tier before ours, that denies what
// it selects.
func (f *Field) Foreign(name, selector string, rules ...v3.Rule) {
	f.T.Helper()
	tier := &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: "platform"}, Spec: v3.TierSpec{Order: ptr.To(100.0), DefaultAction: ptr.To(v3.Pass)}}
	f.Expect(client.IgnoreAlreadyExists(Admin.Create(f.T.Context(), tier))).To(Succeed())
	f.T.Cleanup(func() { DeleteNow(f, tier) })
	policy := &v3.GlobalNetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "platform." + name},
		Spec: v3.GlobalNetworkPolicySpec{
			Tier: "platform", Order: ptr.To(1.0), Selector: selector, Types: []v3.PolicyType{v3.PolicyTypeIngress}, Ingress: rules,
		},
	}
	f.Expect(Admin.Create(f.T.Context(), policy)).To(Succeed())
	f.T.Cleanup(func() { DeleteNow(f, policy) })
}

// Soak has nodes soak for so long.
func Soak(seconds int32) func(*v1alpha1.ControlPlaneNetworkPolicySpec) {
	return func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Rollout.SoakSeconds = &seconds }
}

// Annotate sets an annotation of the policy; nil takes it away.
func (f *Field) Annotate(key string, value *string) {
	f.T.Helper()
	text := "null"
	if value != nil {
		text = fmt.Sprintf("%q", *value)
	}
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: PolicyName}}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%s}}}`, key, text)
	f.Expect(Admin.Patch(f.T.Context(), policy, client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}
