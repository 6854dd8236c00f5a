// SPDX-License-Identifier: Apache-2.0

package flood

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// prepareVictim creates the nodes and objects of the policy under attack.
func prepareVictim(t *testing.T, g *WithT) {
	t.Helper()
	for i, policy := range []string{victim, "other"} {
		g.Expect(testbed.CreateNode(t.Context(), admin, testbed.Node(fmt.Sprint("cp-", i+1), testbed.WithoutKwok(), testbed.NodeReady(corev1.ConditionTrue),
			testbed.NodeLabels(map[string]string{"flood": policy, testbed.ControlPlaneRole: ""}), testbed.InternalIP(fmt.Sprint("10.98.0.", i+1))))).To(Succeed())
	}
	cni := daemonSet(0).(*appsv1.DaemonSet)
	cni.ObjectMeta = metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: "calico-node"} // a CNI that enforces NetworkPolicies
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenant}}, cni, newPolicy(victim, victim), newPolicy("other", "other"),
	} {
		g.Expect(admin.Create(t.Context(), object)).To(Succeed())
	}
}

func conditionOf(t *testing.T, policy string) func() string {
	return func() string {
		now := &v1alpha1.ControlPlaneNetworkPolicy{}
		if err := admin.Get(t.Context(), client.ObjectKey{Name: policy}, now); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(now.Status.Conditions, v1alpha1.ConditionReady)
		if c == nil || c.ObservedGeneration != now.Generation {
			return ""
		}
		return string(c.Status) + "/" + c.Reason + ": " + c.Message
	}
}

func waitUntilReady(t *testing.T, g *WithT, policy string) {
	t.Helper()
	g.Eventually(conditionOf(t, policy)).Should(HavePrefix("True/"))
}

// useWayOut makes the operator roll everything back, or suspends the operator, waits until
// the status reports so, and ends the rollback or suspension.
func useWayOut(t *testing.T, g *WithT, revert bool) {
	t.Helper()
	set, unset, shown := `{"spec":{"suspend":true}}`, `{"spec":{"suspend":false}}`, "True/Suspended"
	if revert {
		set, unset = `{"metadata":{"annotations":{"cpnp.dev/revert":"a flood"}}}`, `{"metadata":{"annotations":{"cpnp.dev/revert":null}}}`
		shown = "False/RolledBack"
	}
	edit := func(body string) {
		target := newPolicy(victim, victim)
		g.Expect(admin.Patch(t.Context(), target, client.RawPatch(types.MergePatchType, []byte(body)))).To(Succeed())
	}
	edit(set)
	g.Eventually(conditionOf(t, victim)).Should(HavePrefix(shown))
	if revert {
		g.Eventually(func() []corev1.Taint {
			node := &corev1.Node{}
			g.Expect(admin.Get(t.Context(), client.ObjectKey{Name: "cp-1"}, node)).To(Succeed())
			return node.Spec.Taints
		}).ShouldNot(ContainElement(HaveField("Key", testbed.ControlPlaneRole)))
	}
	edit(unset)
}

// removePolicy deletes a policy, and waits until the policy is gone.
func removePolicy(t *testing.T, g *WithT, policy string) {
	t.Helper()
	target := newPolicy(policy, policy)
	g.Expect(admin.Delete(t.Context(), target)).To(Succeed())
	g.Eventually(func() bool {
		return apierrors.IsNotFound(admin.Get(t.Context(), client.ObjectKeyFromObject(target), target))
	}).Should(BeTrue())
}
