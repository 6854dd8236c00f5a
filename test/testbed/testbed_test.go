// SPDX-License-Identifier: Apache-2.0

package testbed_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

const (
	deadline = 20 * time.Second
	interval = 20 * time.Millisecond
)

func TestMain(m *testing.M) {
	if ending := os.Getenv(helperVariable); ending != "" {
		os.Exit(runHelper(ending))
	}
	ctrllog.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// TestControlPlane runs one control plane with all programs, from start to stop.
func TestControlPlane(t *testing.T) {
	g := NewWithT(t)
	var output lockedBuffer
	var steps []string
	start := time.Now()
	cp, err := testbed.Start(t.Context(), testbed.Options{
		CRDPaths:          []string{"testdata/crd.yaml"},
		ControllerManager: true,
		Scheduler:         true,
		Kwok:              true,
		AuditLog:          true,
		Output:            &output,
		Progress:          func(step string) { steps = append(steps, step) },
	})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = cp.Stop() })
	t.Logf("started in %s", time.Since(start).Round(time.Millisecond))
	g.Expect(steps).To(HaveLen(5))

	g.Expect(foldersOfProcess()).To(ConsistOf(cp.Dir))

	pids := cp.PIDs()
	g.Expect(pids).To(And(HaveLen(5),
		HaveKey("etcd"), HaveKey("kube-apiserver"), HaveKey("kube-controller-manager"), HaveKey("kube-scheduler"), HaveKey("kwok")))

	// The tests run in any order, so each removes objects that other tests would notice.
	for name, test := range map[string]func(*testing.T, *testbed.ControlPlane){
		"pod runs on a kwok node": podRuns,
		"default addresses":       noAddressOfThisMachine,
		"CRD is served":           crdServed,
		"audit counts":            auditCounts,
		"audit counts a watch":    auditCountsWatch,
		"users are who they are":  usersAreBoundByRBAC,
		"services":                createsServices,
		"node without kwok":       nodeWithoutKwok,
		"kubectl":                 kubectlWorks,
	} {
		t.Run(name, func(t *testing.T) { test(t, cp) })
	}
	logMemory(t, pids)

	// A client with a forgotten watch does not delay Stop.
	watch := openWatch(t, cp.Config)
	defer watch.Stop()

	start = time.Now()
	g.Expect(cp.Stop()).To(Succeed())
	t.Logf("stopped in %s", time.Since(start).Round(time.Millisecond))
	g.Expect(cp.Stop()).To(Succeed())
	for name, pid := range pids {
		g.Expect(isRunning(pid)).To(BeFalse(), name)
	}
	g.Expect(cp.Dir).NotTo(BeADirectory())
	g.Expect(output.String()).To(ContainSubstring("\nkube-scheduler: "))
}

func podRuns(t *testing.T, cp *testbed.ControlPlane) {
	g, ctx, c := NewWithT(t), t.Context(), newClient(t, cp)
	g.Expect(c.Get(ctx, client.ObjectKey{Namespace: "default", Name: "default"}, &corev1.ServiceAccount{})).To(Succeed())

	start := time.Now()
	taint := corev1.Taint{Key: testbed.ControlPlaneRole, Effect: corev1.TaintEffectNoSchedule}
	// The scheduler may still know a deleted node of another test.
	ours := map[string]string{"test": "pod-runs"}
	createNode(t, c, testbed.Node("cp-1", testbed.ControlPlaneNode(), testbed.Taints(taint),
		testbed.NodeLabels(ours), testbed.InternalIP("10.1.0.1", "fd00::1")))
	createNode(t, c, testbed.Node("worker-1", testbed.NodeLabels(ours), testbed.InternalIP("10.1.0.2")))

	scheduled := testbed.Pod("default", "scheduled")
	scheduled.Spec.NodeSelector = ours
	bound := testbed.Pod("default", "bound", testbed.OnNode("cp-1"), testbed.HostNetwork(),
		testbed.Tolerations(corev1.Toleration{Operator: corev1.TolerationOpExists}))
	for _, pod := range []*corev1.Pod{scheduled, bound} {
		g.Expect(c.Create(ctx, pod)).To(Succeed())
		t.Cleanup(func() { removeObject(t, c, pod, client.GracePeriodSeconds(0)) })
		g.Eventually(func(g Gomega) {
			g.Expect(c.Get(ctx, client.ObjectKeyFromObject(pod), pod)).To(Succeed())
			g.Expect(pod.Status.Phase).To(Equal(corev1.PodRunning))
		}, deadline, interval).Should(Succeed())
	}
	t.Logf("nodes and pods in %s", time.Since(start).Round(time.Millisecond))
	g.Expect(scheduled.Spec.NodeName).To(Equal("worker-1"), "the other node is tainted")
	g.Expect(bound.Status.PodIP).To(Equal("10.1.0.1"))
}

// createNode creates a node, and deletes the node when the test ends.
func createNode(t *testing.T, c client.Client, node *corev1.Node) {
	t.Helper()
	NewWithT(t).Expect(testbed.CreateNode(t.Context(), c, node)).To(Succeed())
	t.Cleanup(func() { removeObject(t, c, node) })
}

// removeObject runs after the context of the test has ended.
func removeObject(t *testing.T, c client.Client, object client.Object, options ...client.DeleteOption) {
	t.Helper()
	NewWithT(t).Expect(client.IgnoreNotFound(c.Delete(context.Background(), object, options...))).To(Succeed())
}

// Addresses of nodes and pods are the same on every machine.
func noAddressOfThisMachine(t *testing.T, cp *testbed.ControlPlane) {
	g, ctx, c := NewWithT(t), t.Context(), newClient(t, cp)
	node := testbed.Node("addresses", testbed.InternalIP("10.1.0.3", "fd00::3"))
	createNode(t, c, node)
	g.Eventually(func(g Gomega) {
		g.Expect(c.Get(ctx, client.ObjectKeyFromObject(node), node)).To(Succeed())
		g.Expect(node.Status.Conditions).NotTo(BeEmpty(), "kwok has not seen the node yet")
		g.Expect(node.Spec.Taints).To(BeEmpty())
	}, deadline, interval).Should(Succeed())
	g.Expect(node.Status.Addresses).To(ConsistOf(
		corev1.NodeAddress{Type: corev1.NodeHostName, Address: "addresses"},
		corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "10.1.0.3"},
		corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: "fd00::3"},
	))
}

func nodeWithoutKwok(t *testing.T, cp *testbed.ControlPlane) {
	g, ctx, c := NewWithT(t), t.Context(), newClient(t, cp)
	node := testbed.Node("alone", testbed.WithoutKwok(), testbed.NodeReady(corev1.ConditionFalse))
	createNode(t, c, node)
	ready := func() corev1.ConditionStatus {
		g.Expect(c.Get(ctx, client.ObjectKeyFromObject(node), node)).To(Succeed())
		g.Expect(node.Status.Conditions).To(HaveLen(1))
		return node.Status.Conditions[0].Status
	}
	g.Consistently(ready, "300ms", interval).Should(Equal(corev1.ConditionFalse))
	g.Expect(testbed.SetNodeReady(ctx, c, "alone", corev1.ConditionTrue)).To(Succeed())
	g.Expect(ready()).To(Equal(corev1.ConditionTrue))
}

func crdServed(t *testing.T, cp *testbed.ControlPlane) {
	g, c := NewWithT(t), newClient(t, cp)
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(widgets)
	g.Expect(c.List(t.Context(), list)).To(Succeed())
}

func usersAreBoundByRBAC(t *testing.T, cp *testbed.ControlPlane) {
	g := NewWithT(t)
	config, err := cp.AddUser("nobody")
	g.Expect(err).NotTo(HaveOccurred())
	c, err := client.New(config, client.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	err = c.List(t.Context(), &corev1.NodeList{})
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
	g.Expect(err).To(MatchError(ContainSubstring(`"nobody"`)))
}

func createsServices(t *testing.T, cp *testbed.ControlPlane) {
	g, ctx, c := NewWithT(t), t.Context(), newClient(t, cp)
	service := testbed.Service("default", "web", corev1.ServiceTypeLoadBalancer,
		testbed.ServiceLabels(map[string]string{"exposure": "public"}))
	g.Expect(c.Create(ctx, service)).To(Succeed())
	g.Expect(service.Spec.ClusterIP).To(MatchRegexp(`^10\.(9[6-9]|10\d|11[01])\.`))
	g.Expect(service.Spec.Ports[0].NodePort).To(BeNumerically(">=", 20000))
	slice := testbed.EndpointSlice(service, testbed.Endpoint("worker-1", "10.244.0.1", true))
	g.Expect(c.Create(ctx, slice)).To(Succeed())
}

func kubectlWorks(t *testing.T, cp *testbed.ControlPlane) {
	g := NewWithT(t)
	out, err := cp.Kubectl(t.Context(), "get", "namespaces", "-o", "name").CombinedOutput()
	g.Expect(string(out)).To(ContainSubstring("namespace/kube-system"))
	g.Expect(err).NotTo(HaveOccurred())
}

// TestStartFails: after a failed start no process is left, and the error names the cause.
func TestStartFails(t *testing.T) {
	badFlag := map[string][]string{"no-such-flag": {"x"}}
	tests := map[string]struct {
		options testbed.Options
		want    string
	}{
		"API server": {testbed.Options{APIServerArgs: badFlag}, "unknown flag: --no-such-flag"},
		"scheduler": {testbed.Options{Scheduler: true, Kwok: true},
			"kube-scheduler ended by itself: exit status 4\nlast lines of kube-scheduler:\n\tbroken"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			brokenScheduler(t)
			_, err := testbed.Start(t.Context(), test.options)
			g.Expect(err).To(MatchError(ContainSubstring(test.want)))
			g.Expect(foldersOfProcess()).To(BeEmpty())
		})
	}
}

// brokenScheduler makes an assets folder with a scheduler that does not start.
func brokenScheduler(t *testing.T) {
	t.Helper()
	assets, err := testbed.FindAssets(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	broken := t.TempDir()
	for _, name := range []string{"etcd", "kube-apiserver", "kwok", "kwok-stages.yaml"} {
		if err := os.Symlink(filepath.Join(assets, name), filepath.Join(broken, name)); err != nil {
			t.Fatal(err)
		}
	}
	writeFile(t, filepath.Join(broken, "kube-scheduler"), "#!/bin/sh\necho broken\nexit 4\n")
	t.Setenv("KUBEBUILDER_ASSETS", broken)
}

// A program that ends during the tests makes Stop fail, because the tests did not run on
// the requested control plane.
func TestProgramEnds(t *testing.T) {
	g := NewWithT(t)
	cp, err := testbed.Start(t.Context(), testbed.Options{Kwok: true})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = cp.Stop() })
	g.Expect(syscall.Kill(cp.PIDs()["kwok"], syscall.SIGKILL)).To(Succeed())
	g.Eventually(cp.PIDs, deadline, interval).ShouldNot(HaveKey("kwok"))
	g.Expect(cp.Stop()).To(MatchError(ContainSubstring("kwok ended by itself: signal: killed")))
	g.Expect(cp.Dir).NotTo(BeADirectory())
}

func TestStartIsCancelled(t *testing.T) {
	g := NewWithT(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := testbed.Start(ctx, testbed.Options{Progress: func(string) { cancel() }})
	g.Expect(err).To(MatchError(context.Canceled))
	g.Expect(foldersOfProcess()).To(BeEmpty())
}

// foldersOfProcess returns this process's test beds, in both possible places.
func foldersOfProcess() []string {
	var all []string
	for _, base := range []string{"/dev/shm", os.TempDir()} {
		found, _ := filepath.Glob(filepath.Join(base, fmt.Sprintf("cpnp-testbed-%d-*", os.Getpid())))
		all = append(all, found...)
	}
	return all
}

func newClient(t *testing.T, cp *testbed.ControlPlane) client.Client {
	t.Helper()
	c, err := client.New(cp.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// logMemory logs the memory of the programs, where the kernel tells.
func logMemory(t *testing.T, pids map[string]int) {
	t.Helper()
	for name, pid := range pids {
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(status)) {
			if size, found := strings.CutPrefix(line, "VmRSS:"); found {
				t.Logf("%s uses %s", name, strings.TrimSpace(size))
			}
		}
	}
}
