// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

var crdKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

const (
	deadline = 40 * time.Second
	tick     = 50 * time.Millisecond
	role     = "node-role.kubernetes.io/control-plane"
)

func gomega(t *testing.T) *WithT {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(deadline)
	g.SetDefaultEventuallyPollingInterval(tick)
	return g
}

// account returns a configuration with only the token of the operator's installed account.
func account(ctx context.Context, g *WithT) *rest.Config {
	request := &authenticationv1.TokenRequest{}
	installed := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: release}}
	g.Expect(admin.SubResource("token").Create(ctx, installed, request)).To(Succeed())
	config := rest.AnonymousClientConfig(cluster.Config)
	config.BearerToken = request.Status.Token
	return config
}

func condition(ctx context.Context, g *WithT, policy, kind string) func() string {
	return func() string {
		object := &v1alpha1.ControlPlaneNetworkPolicy{}
		g.Expect(admin.Get(ctx, client.ObjectKey{Name: policy}, object)).To(Succeed())
		c := meta.FindStatusCondition(object.Status.Conditions, kind)
		if c == nil {
			return ""
		}
		return string(c.Status) + "/" + c.Reason
	}
}

// A release from the first install to the removal of its last object.
func TestInstallUseUpgradeAndUninstall(t *testing.T) {
	g, ctx := gomega(t), t.Context()
	begun := time.Now()
	step := func(what string) { t.Logf("%6.1f s  %s", time.Since(begun).Seconds(), what) }
	node := testbed.Node("cp-1", testbed.NodeLabels(map[string]string{role: ""}), testbed.InternalIP("10.80.0.1"))
	g.Expect(testbed.CreateNode(ctx, admin, node)).To(Succeed())

	out, err := runHelm(ctx, "install", release, chart, "--namespace", namespace, "--create-namespace", "--set", "probe.enabled=true")
	g.Expect(err).NotTo(HaveOccurred(), out)
	g.Expect(out).To(ContainSubstring("It writes nothing yet"))
	step("installed")
	deployment := &appsv1.Deployment{}
	g.Eventually(func() int32 {
		g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: release}, deployment)).To(Succeed())
		return deployment.Status.ReadyReplicas
	}).Should(Equal(int32(2)), "the level restricted of Pod Security, quotas and the API server let the pods in")
	step("its pods run")

	startOperatorWithARightMissing(t, g)
	step("the operator is ready")

	// The values of a release may have policies, in mode Audit by default.
	values := []string{
		"--set-string", "policies.plane.nodeSelector.matchLabels.node-role\\.kubernetes\\.io/control-plane=",
		"--set-string", "policies.plane.taints[0].key=" + role, "--set-string", "policies.plane.taints[0].effect=NoSchedule",
	}
	upgrade := append([]string{"upgrade", release, chart, "--namespace", namespace, "--reuse-values"}, values...)
	out, err = runHelm(ctx, upgrade...)
	g.Expect(err).NotTo(HaveOccurred(), out)
	g.Eventually(condition(ctx, g, "plane", v1alpha1.ConditionDrifted)).Should(HavePrefix("True/"))
	step("the first finding is shown")
	g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(node), node)).To(Succeed())
	g.Expect(node.Spec.Taints).NotTo(ContainElement(HaveField("Key", role)), "the policy is in mode Audit")

	out, err = runHelm(ctx, append(upgrade, "--set", "policies.plane.mode=Enforce")...)
	g.Expect(err).NotTo(HaveOccurred(), out)
	g.Eventually(condition(ctx, g, "plane", v1alpha1.ConditionReady)).Should(Equal("True/AsDeclared"))
	step("enforced")

	// Objects that the operator writes do not belong to the chart: an upgrade to
	// the same release changes no object, and conflicts with no manager.
	before := versions(ctx, g)
	out, err = runHelm(ctx, append(upgrade, "--set", "policies.plane.mode=Enforce")...)
	g.Expect(err).NotTo(HaveOccurred(), out)
	g.Expect(versions(ctx, g)).To(Equal(before))
	g.Expect(condition(ctx, g, "plane", v1alpha1.ConditionReady)()).To(Equal("True/AsDeclared"))

	plane := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "plane"}}
	g.Expect(admin.Delete(ctx, plane)).To(Succeed())
	g.Eventually(func() bool { return apierrors.IsNotFound(admin.Get(ctx, client.ObjectKeyFromObject(plane), plane)) }).Should(BeTrue())
	g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(node), node)).To(Succeed())
	g.Expect(node.Spec.Taints).NotTo(ContainElement(HaveField("Key", role)), "the original is restored")
	step("the policy is gone")
	out, err = runHelm(ctx, "uninstall", release, "--namespace", namespace)
	g.Expect(err).NotTo(HaveOccurred(), out)
	g.Eventually(func() []string { return left(ctx, g) }).Should(BeEmpty())
	crd := &metav1.PartialObjectMetadata{}
	crd.SetGroupVersionKind(crdKind)
	g.Expect(admin.Get(ctx, client.ObjectKey{Name: "controlplanenetworkpolicies.cpnp.dev"}, crd)).To(Succeed(), "crds.keep")
	step("uninstalled")
}

// startOperatorWithARightMissing starts the operator while the right to read a ConfigMap of
// the cluster is missing. The operator is not ready before the right is there: without it, no
// reconciler starts.
func startOperatorWithARightMissing(t *testing.T, g *WithT) {
	t.Helper()
	ctx := t.Context()
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: metav1.NamespaceSystem, Name: release + "-configmaps"}}
	g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(binding), binding)).To(Succeed())
	g.Expect(admin.Delete(ctx, binding.DeepCopy())).To(Succeed())

	address := testbed.FreeAddress()
	mgr, err := operator.NewManager(account(ctx, g), func(o *ctrl.Options) { o.HealthProbeBindAddress = address })
	g.Expect(err).NotTo(HaveOccurred())
	running, stop := context.WithCancel(context.Background())
	g.Expect(controllers.SetupWithManager(running, mgr, controllers.Options{})).To(Succeed())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(running) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the operator ended with: %v", err)
		}
	})
	ready := func() (int, error) {
		response, err := http.Get("http://" + address + "/readyz")
		if err != nil {
			return 0, err
		}
		return response.StatusCode, response.Body.Close()
	}
	g.Eventually(ready).Should(Equal(http.StatusInternalServerError))
	binding.ResourceVersion = ""
	g.Expect(admin.Create(ctx, binding)).To(Succeed())
	g.Eventually(ready).Should(Equal(http.StatusOK))
}

// versions returns the resourceVersions of the release's objects.
func versions(ctx context.Context, g *WithT) map[string]string {
	found := map[string]string{}
	for _, list := range []client.ObjectList{
		&rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{}, &corev1.ServiceAccountList{}, &corev1.ServiceList{},
	} {
		g.Expect(admin.List(ctx, list, client.MatchingLabels{"app.kubernetes.io/instance": release})).To(Succeed())
		objects, err := meta.ExtractList(list)
		g.Expect(err).NotTo(HaveOccurred())
		for _, object := range objects {
			o := object.(client.Object)
			found[fmt.Sprintf("%T/%s", object, o.GetName())] = o.GetResourceVersion()
		}
	}
	return found
}

// left returns the release's objects that still exist.
func left(ctx context.Context, g *WithT) []string {
	var names []string
	for name := range versions(ctx, g) {
		names = append(names, name)
	}
	return names
}

func TestChartRefusesUnknownValues(t *testing.T) {
	for name, test := range map[string]struct{ set, want string }{
		"a typo":                     {"replica=3", "'replica' not allowed"},
		"a typo within":              {"metrics.prot=1", "'prot' not allowed"},
		"a port that there is not":   {"metrics.port=70000", "maximum"},
		"a digest without algorithm": {"image.digest=abc", "does not match pattern"},
		"a policy without nodes":     {"policies.p.mode=Audit", "missing property 'nodeSelector'"},
		"an account without name":    {"serviceAccount.create=false", "serviceAccount.name is needed"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := runHelm(t.Context(), "template", release, chart, "--namespace", namespace, "--set", test.set)
			g := NewWithT(t)
			g.Expect(err).To(HaveOccurred())
			g.Expect(out).To(ContainSubstring(test.want))
		})
	}
}
