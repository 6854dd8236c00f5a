// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/uninstall"
	"github.com/cpnp-dev/cpnp-operator/test/operator"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// The hook before helm uninstall, with the rights and the arguments of the chart, rolls
// a live policy back. kwok runs no programs, so the test runs the job's program itself.
func TestHookRollsPoliciesBackBeforeUninstall(t *testing.T) {
	g, ctx := gomega(t), t.Context()
	node := testbed.Node("hook-1", testbed.NodeLabels(map[string]string{role: "", "hook": "here"}), testbed.InternalIP("10.80.1.1"))
	g.Expect(testbed.CreateNode(ctx, admin, node)).To(Succeed())
	out, err := runHelm(ctx, "install", release, chart, "--namespace", namespace, "--create-namespace",
		"--set", "policies.live.mode=Enforce,policies.live.nodeSelector.matchLabels.hook=here",
		"--set", "policies.live.taints[0].key=hooked,policies.live.taints[0].effect=NoSchedule")
	g.Expect(err).NotTo(HaveOccurred(), out)
	stop := startLeader(t, g)
	g.Eventually(condition(ctx, g, "live", v1alpha1.ConditionReady)).Should(Equal("True/AsDeclared"))
	g.Expect(taintsOf(ctx, g, node)).To(ContainElement("hooked"))

	hook, arguments := createHook(ctx, g)
	var told bytes.Buffer
	g.Expect((&uninstall.Uninstall{
		Client: hook, Out: &told, Namespace: arguments["namespace"], Timeout: deadline, LeaderTimeout: deadline, Poll: tick,
	}).Run(ctx)).To(Succeed(), told.String())
	t.Log(told.String())
	g.Expect(taintsOf(ctx, g, node)).NotTo(ContainElement("hooked"), "the original is restored")
	live := &v1alpha1.ControlPlaneNetworkPolicy{}
	g.Expect(apierrors.IsNotFound(admin.Get(ctx, client.ObjectKey{Name: "live"}, live))).To(BeTrue())
	for what, err := range map[string]error{
		"create a policy": hook.Create(ctx, &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "x"}}),
		"list nodes":      hook.List(ctx, &corev1.NodeList{}),
		"read secrets":    hook.List(ctx, &corev1.SecretList{}, client.InNamespace(namespace)),
	} {
		g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "the account of the hook may not %s: %v", what, err)
	}

	stop()
	out, err = runHelm(ctx, "uninstall", release, "--namespace", namespace)
	g.Expect(err).NotTo(HaveOccurred(), out)
	g.Eventually(func() []string { return left(ctx, g) }).Should(BeEmpty(), "the hook leaves nothing either")
}

// startLeader runs the operator with the installed account, as the leader.
func startLeader(t *testing.T, g *WithT) (stop func()) {
	mgr, err := operator.NewManager(account(t.Context(), g), func(o *ctrl.Options) {
		o.LeaderElection, o.LeaderElectionNamespace = true, namespace
	})
	g.Expect(err).NotTo(HaveOccurred())
	running, cancel := context.WithCancel(context.Background())
	g.Expect(controllers.SetupWithManager(running, mgr, controllers.Options{})).To(Succeed())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(running) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the operator ended with: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func taintsOf(ctx context.Context, g *WithT, node *corev1.Node) []string {
	now := &corev1.Node{}
	g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(node), now)).To(Succeed())
	var keys []string
	for _, taint := range now.Spec.Taints {
		keys = append(keys, taint.Key)
	}
	return keys
}

// createHook creates the account and the rights of the hook, and returns a client with the
// account's token, and the arguments of the job's container.
func createHook(ctx context.Context, g *WithT) (client.Client, map[string]string) {
	text, err := runHelm(ctx, "get", "hooks", release, "--namespace", namespace)
	g.Expect(err).NotTo(HaveOccurred(), text)
	arguments := map[string]string{}
	for _, document := range strings.Split(text, "\n---\n") {
		object := &unstructured.Unstructured{}
		g.Expect(yaml.Unmarshal([]byte(document), &object.Object)).To(Succeed())
		if object.GetAnnotations()["helm.sh/hook"] != "pre-delete" {
			continue // no job, or the check of helm test
		}
		switch object.GetKind() {
		case "Job":
			containers, _, _ := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
			args, _, _ := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
			g.Expect(args[0]).To(Equal("uninstall"))
			for _, arg := range args[1:] {
				name, value, _ := strings.Cut(strings.TrimPrefix(arg, "--"), "=")
				arguments[name] = value
			}
		default:
			g.Expect(admin.Create(ctx, object)).To(Succeed())
		}
	}
	g.Expect(arguments).To(And(HaveKeyWithValue("namespace", namespace), HaveKeyWithValue("timeout", "240s")))
	request := &authenticationv1.TokenRequest{}
	installed := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: release + "-uninstall"}}
	g.Expect(admin.SubResource("token").Create(ctx, installed, request)).To(Succeed())
	config := rest.AnonymousClientConfig(cluster.Config)
	config.BearerToken = request.Status.Token
	c, err := client.New(config, client.Options{Scheme: options.NewScheme()})
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(func() error { return c.List(ctx, &v1alpha1.ControlPlaneNetworkPolicyList{}) }, 10*time.Second).Should(Succeed())
	return c, arguments
}
