// SPDX-License-Identifier: Apache-2.0

package flood

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

const (
	// theirs is the author's own tier.
	theirs = "theirs"
	// onHosts is the policy for nodes with Calico.
	onHosts = "on-hosts"
	// rolledOut is the time limit of a rollout to a node, and three times the interval
	// between two measurements of the objects by the operator.
	rolledOut = 2 * time.Minute
)

// calicoFlood is a flood of objects by the author of one tier.
type calicoFlood struct {
	kind  string
	make  func(i int) client.Object
	count int
}

var calicoFloods = []calicoFlood{
	{v3.KindGlobalNetworkPolicy, shortRules, 300},
	{v3.KindGlobalNetworkSet, fullSet, 300},
	{v3.KindHostEndpoint, fullEndpoint, 300},
}

func floodMeta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Labels: map[string]string{"flood": theirs}}
}

// shortRules returns a policy of 18 KiB with half a mebibyte in memory.
func shortRules(i int) client.Object {
	policy := &v3.GlobalNetworkPolicy{ObjectMeta: floodMeta(fmt.Sprint(theirs, ".p", i))}
	policy.Spec = v3.GlobalNetworkPolicySpec{Tier: theirs, Selector: "flood == 'no'", Types: []v3.PolicyType{v3.PolicyTypeIngress}}
	policy.Spec.Ingress = make([]v3.Rule, 1024)
	for j := range policy.Spec.Ingress {
		policy.Spec.Ingress[j].Action = v3.Log
	}
	return policy
}

func fullSet(i int) client.Object {
	set := &v3.GlobalNetworkSet{ObjectMeta: floodMeta(fmt.Sprint(theirs, "-s", i))}
	set.Annotations = map[string]string{"full": longText(muchAnnotations)}
	set.Spec.Nets = []string{longText(muchText)}
	return set
}

func fullEndpoint(i int) client.Object {
	endpoint := &v3.HostEndpoint{ObjectMeta: floodMeta(fmt.Sprint(theirs, "-e", i))}
	endpoint.Spec = v3.HostEndpointSpec{Node: fmt.Sprint("elsewhere-", i), InterfaceName: "eth0", ExpectedIPs: []string{longText(muchText)}}
	return endpoint
}

// An author of one Calico tier can neither end the operator nor prevent a rollback. While
// the operator cannot judge, no condition says Verified.
func TestFloodsOfCalico(t *testing.T) {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(rolledOut)
	g.SetDefaultEventuallyPollingInterval(tick)
	startCalico(t, g)
	author := authorOfOneTier(t, g)
	protectThreeNodes(t, g)
	p := startOperator(t, g)
	t.Cleanup(func() { p.Stop() })
	g.Eventually(hostCondition(t, v1alpha1.ConditionProgrammed)).Should(HavePrefix("True/"))
	g.Expect(ownEndpoints(t, g)).To(Equal(protected))
	var atRest metrics
	g.Eventually(func() (err error) { atRest, err = p.readMetrics(); return err }).Should(Succeed())

	for _, f := range calicoFloods {
		t.Run(f.kind, func(t *testing.T) {
			g := newExpectations(t)
			m := measureDuring(t, g, p, func(m *measured, _ <-chan struct{}) { f.makeObjects(t, author, m) }, func() {
				expectTooLarge(t, g, f.kind)
			}, 1, 0)
			t.Logf("%s: %.0f MiB, %d bytes logged, reported after %.1f s", f.kind, m.peak, m.logged, m.seen.Seconds())
			m.expectBounded(g, atRest.series)
			g.Expect(ownEndpoints(t, g)).To(Equal(protected), "enforced rules stay")
		})
	}
	t.Run("the way out", func(t *testing.T) {
		g := newExpectations(t)
		m := measureDuring(t, g, p, makeNothing, func() {
			annotatePolicy(t, g, `{"cpnp.dev/revert":"a flood"}`)
			g.Eventually(func() int { return ownEndpoints(t, g) }).Should(BeZero())
			g.Eventually(hostCondition(t, v1alpha1.ConditionReady)).Should(HavePrefix("False/RolledBack"))
			annotatePolicy(t, g, `{"cpnp.dev/revert":null}`)
			expectTooLarge(t, g, "")
			g.Expect(ownEndpoints(t, g)).To(BeZero(), "rules without a verdict were written")
		}, 0, 0)
		m.expectBounded(g, atRest.series)
	})
	t.Run("another start", func(t *testing.T) {
		g := newExpectations(t)
		p.Stop()
		p = startOperator(t, g)
		m := measureDuring(t, g, p, makeNothing, func() { expectTooLarge(t, g, "") }, 0, 0)
		t.Logf("another start: %.0f MiB", m.peak)
		m.expectBounded(g, atRest.series)
	})
	t.Run("afterwards", func(t *testing.T) {
		g := newExpectations(t)
		g.SetDefaultEventuallyTimeout(rolledOut)
		m := measureDuring(t, g, p, makeNothing, func() {
			endFloods(t, g)
			g.Eventually(hostCondition(t, v1alpha1.ConditionProgrammed)).Should(HavePrefix("True/"))
			g.Expect(ownEndpoints(t, g)).To(Equal(protected))
		}, 0, 0)
		m.expectBounded(g, atRest.series)
	})
	t.Run("a policy goes", func(t *testing.T) {
		g := newExpectations(t)
		m := measureDuring(t, g, p, func(m *measured, _ <-chan struct{}) { calicoFloods[2].makeObjects(t, author, m) }, func() {
			expectTooLarge(t, g, "")
			removePolicy(t, g, onHosts)
			g.Expect(ownEndpoints(t, g)).To(BeZero())
		}, 1, 0)
		t.Logf("a policy goes: %.0f MiB", m.peak)
		m.expectBounded(g, atRest.series)
	})
}

func makeNothing(*measured, <-chan struct{}) {}

// makeObjects creates the objects.
func (f calicoFlood) makeObjects(t *testing.T, author client.Client, m *measured) {
	workqueue.ParallelizeUntil(context.Background(), parallel, f.count, func(i int) {
		if err := client.IgnoreAlreadyExists(author.Create(context.Background(), f.make(i))); err != nil {
			t.Error(err)
		}
		m.written.Add(1)
	})
}

func startCalico(t *testing.T, g *WithT) {
	t.Helper()
	served, err := calico.Start(t.Context(), cluster, calico.Options{Mode: calico.Native})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		g.Expect(served.Stop()).To(Succeed())
		g.Expect(calico.Uninstall(context.Background(), cluster)).To(Succeed())
	})
	t.Cleanup(func() { endFloods(t, g) })
	g.Expect(admin.Create(t.Context(), &v3.Tier{ObjectMeta: metav1.ObjectMeta{Name: theirs}, Spec: v3.TierSpec{}})).To(Succeed())
}

// authorOfOneTier returns a client with rights to write policies of a single tier, limited
// by an admission policy, and objects for rules to refer to.
func authorOfOneTier(t *testing.T, g *WithT) client.Client {
	t.Helper()
	named := metav1.ObjectMeta{Name: "author"}
	deny := admissionv1.Deny
	all := admissionv1.RuleWithOperations{
		Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
		Rule:       admissionv1.Rule{APIGroups: []string{"projectcalico.org"}, APIVersions: []string{"*"}, Resources: []string{"globalnetworkpolicies"}},
	}
	objects := []client.Object{
		&rbacv1.ClusterRole{ObjectMeta: named, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"projectcalico.org"}, Verbs: []string{"create", "patch"},
			Resources: []string{"globalnetworkpolicies", "globalnetworksets", "hostendpoints"},
		}}},
		&rbacv1.ClusterRoleBinding{
			ObjectMeta: named, Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: named.Name}},
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: named.Name},
		},
		&admissionv1.ValidatingAdmissionPolicy{ObjectMeta: named, Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: all}}},
			Validations:      []admissionv1.Validation{{Expression: "request.userInfo.username != 'author' || object.spec.tier == 'theirs'"}},
		}},
		&admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: named, Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: named.Name, ValidationActions: []admissionv1.ValidationAction{deny},
		}},
	}
	for _, object := range objects {
		g.Expect(admin.Create(t.Context(), object)).To(Succeed())
		t.Cleanup(func() { g.Expect(client.IgnoreNotFound(admin.Delete(context.Background(), object))).To(Succeed()) })
	}
	config, err := cluster.AddUser(named.Name)
	g.Expect(err).NotTo(HaveOccurred())
	author, err := client.New(options.UnthrottledConfig(config), client.Options{Scheme: options.NewScheme()})
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(func() error {
		intruder := shortRules(0).(*v3.GlobalNetworkPolicy)
		intruder.Name, intruder.Spec.Tier = "cpnp.intruder", "cpnp"
		return author.Create(t.Context(), intruder, client.DryRunAll)
	}).Should(MatchError(ContainSubstring("ValidatingAdmissionPolicy")), "another tier is not theirs")
	return author
}

// protected is the number of control-plane nodes which the policy protects: with fewer than
// three, etcd could lose no member, and each node would need a confirmation.
const protected = 3

// protectThreeNodes creates a policy for three nodes.
func protectThreeNodes(t *testing.T, g *WithT) {
	t.Helper()
	for i := range protected {
		node := testbed.Node(fmt.Sprintf("calico-%d", i), testbed.WithoutKwok(), testbed.NodeReady(corev1.ConditionTrue),
			testbed.NodeLabels(map[string]string{operator.StoryLabel: onHosts, testbed.ControlPlaneRole: ""}),
			testbed.InternalIP(fmt.Sprintf("10.97.0.%d", i+1)))
		g.Expect(testbed.CreateNode(t.Context(), admin, node)).To(Succeed())
		t.Cleanup(func() { g.Expect(client.IgnoreNotFound(admin.Delete(context.Background(), node))).To(Succeed()) })
	}
	policy := operator.Policy(onHosts, func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
		s.Services, s.Network.Components = nil, s.Network.Components[:1]
	})
	g.Expect(admin.Create(t.Context(), policy)).To(Succeed())
	t.Cleanup(func() {
		g.Expect(client.IgnoreNotFound(admin.Delete(context.Background(), policy))).To(Succeed())
	})
}

func hostCondition(t *testing.T, kind string) func() string {
	return func() string {
		now := &v1alpha1.ControlPlaneNetworkPolicy{}
		if err := admin.Get(t.Context(), client.ObjectKey{Name: onHosts}, now); err != nil {
			return err.Error()
		}
		c := meta.FindStatusCondition(now.Status.Conditions, kind)
		if c == nil {
			return ""
		}
		return string(c.Status) + "/" + c.Reason + ": " + c.Message
	}
}

// expectTooLarge expects the status to report a kind as too large, and all dependent
// conditions to be False or Unknown.
func expectTooLarge(t *testing.T, g *WithT, kind string) {
	t.Helper()
	g.Eventually(hostCondition(t, v1alpha1.ConditionVerified)).Should(And(HavePrefix("Unknown/CalicoTooLarge"),
		ContainSubstring(kind), ContainSubstring("raise the memory limit of the operator, which is 256 MiB")))
	for _, condition := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionProgrammed, v1alpha1.ConditionEffective} {
		g.Eventually(hostCondition(t, condition)).Should(HavePrefix("False/CalicoTooLarge"), condition)
	}
}

func annotatePolicy(t *testing.T, g *WithT, annotations string) {
	t.Helper()
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: onHosts}}
	body := []byte(`{"metadata":{"annotations":` + annotations + `}}`)
	g.Expect(admin.Patch(t.Context(), policy, client.RawPatch(types.MergePatchType, body))).To(Succeed())
}

// ownEndpoints counts the managed host endpoints.
func ownEndpoints(t *testing.T, g *WithT) int {
	t.Helper()
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v3.SchemeGroupVersion.WithKind("HostEndpointList"))
	g.Expect(admin.List(t.Context(), list, client.HasLabels{v1alpha1.LabelPolicy})).To(Succeed())
	return len(list.Items)
}

// endFloods deletes the author's objects singly, because the deletion of all objects may
// take longer than the time limit of a request.
func endFloods(t *testing.T, g *WithT) {
	t.Helper()
	for _, f := range calicoFloods {
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(v3.SchemeGroupVersion.WithKind(f.kind + "List"))
		g.Eventually(func() error {
			err := admin.List(context.Background(), list, client.MatchingLabels{"flood": theirs})
			if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
				return nil // Calico is not served.
			}
			return err
		}).Should(Succeed())
		failed := make([]error, len(list.Items))
		workqueue.ParallelizeUntil(context.Background(), parallel, len(list.Items), func(i int) {
			failed[i] = client.IgnoreNotFound(admin.Delete(context.Background(), &list.Items[i]))
		})
		g.Expect(errors.Join(failed...)).NotTo(HaveOccurred())
	}
}
