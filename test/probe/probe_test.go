// SPDX-License-Identifier: Apache-2.0

package probe

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/probe"
)

// network is the network of a test's observers: the test sets which addresses of a node are
// reachable.
type network struct {
	mu    sync.Mutex
	fails map[string]error // by address and port
}

func (n *network) dialAddress(_ context.Context, _, address string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.fails[address]; err != nil {
		return nil, err
	}
	here, _ := net.Pipe()
	return here, nil
}

func (n *network) setFailure(address string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fails[address] = err
}

// startObserver runs the observer of a node, as cpnp-operator probe does, until the test
// ends.
func startObserver(t *testing.T, node string, dial probe.Dial) {
	t.Helper()
	g := NewWithT(t)
	opts := (&options.Probe{NodeName: node, ProbeAddress: "0"}).ManagerOptions()
	opts.Controller.SkipNameValidation = ptr.To(true)
	mgr, err := ctrl.NewManager(probeCredentials(node), opts)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(probe.SetupObserver(mgr, &probe.Observer{Name: node, Dial: dial})).To(Succeed())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		g.Eventually(ended, deadline).Should(Receive(BeNil()))
	})
}

// createEnactment creates an enactment without a probe request.
func createEnactment(t *testing.T, name string) *v1alpha1.ControlPlaneNodeEnactment {
	t.Helper()
	e := &v1alpha1.ControlPlaneNodeEnactment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: v1alpha1.ControlPlaneNodeEnactmentSpec{
			Policy: "hosts", Node: "cp-1",
			Targets: []v1alpha1.ProbeTarget{
				{Address: "192.0.2.1", Port: 6443, Protocol: v1alpha1.ProbeTCP},
				{Address: "192.0.2.1", Port: 2379, Protocol: v1alpha1.ProbeTCP},
			},
		},
	}
	NewWithT(t).Expect(admin.Create(t.Context(), e)).To(Succeed())
	t.Cleanup(func() { _ = admin.Delete(context.Background(), e) })
	return e
}

// requestRound asks the observers of an enactment for a probe round.
func requestRound(t *testing.T, name string, round int64) {
	t.Helper()
	e := &v1alpha1.ControlPlaneNodeEnactment{ObjectMeta: metav1.ObjectMeta{Name: name}}
	patch := fmt.Appendf(nil, `{"spec":{"probeRound":%d}}`, round)
	NewWithT(t).Expect(admin.Patch(t.Context(), e, client.RawPatch("application/merge-patch+json", patch))).To(Succeed())
	markDecided(t, e)
}

// markDecided records that the enactment's probe request was decided, as the operator does.
func markDecided(t *testing.T, e *v1alpha1.ControlPlaneNodeEnactment) {
	t.Helper()
	patch := fmt.Appendf(nil, `{"status":{"probeRequestHash":%q}}`, e.Spec.ProbeRequestHash())
	NewWithT(t).Expect(admin.Status().Patch(t.Context(), e, client.RawPatch("application/merge-patch+json", patch))).To(Succeed())
}

// ownAddress returns an address of this machine outside of loopback, or nothing if there is
// none.
func ownAddress(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	for _, address := range addresses {
		if network, is := address.(*net.IPNet); is && network.IP.IsGlobalUnicast() {
			return network.IP.String()
		}
	}
	return ""
}

// applyStatus applies a status with a field manager.
func applyStatus(ctx context.Context, c client.Client, manager, name string, status map[string]any) error {
	object := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	object.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("ControlPlaneNodeEnactment"))
	object.SetName(name)
	return c.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(object), client.FieldOwner(manager), client.ForceOwnership)
}

// observerItem is an observer's item in the status, in the form of an apply.
func observerItem(name string) map[string]any {
	return map[string]any{"name": name, "probeRound": int64(1), "time": "2026-01-02T03:04:05Z"}
}

// listResults returns the sorted results of an enactment's observers: observer, probe round
// and outcomes.
func listResults(name string) func(context.Context) []string {
	return func(ctx context.Context) []string {
		e := &v1alpha1.ControlPlaneNodeEnactment{}
		if err := admin.Get(ctx, client.ObjectKey{Name: name}, e); err != nil {
			return []string{err.Error()}
		}
		var lines []string
		for _, o := range e.Status.Observers {
			line := fmt.Sprintf("%s %d", o.Name, o.ProbeRound)
			for _, r := range o.Results {
				line += fmt.Sprintf(" %d=%s", r.Port, r.Outcome)
			}
			lines = append(lines, line)
		}
		slices.Sort(lines)
		return lines
	}
}

// Observers and the operator write into the same status, and leave each other's fields
// alone.
func TestObserversWriteSideBySide(t *testing.T) {
	g := NewWithT(t)
	g.SetDefaultEventuallyTimeout(deadline)
	g.SetDefaultEventuallyPollingInterval(interval)
	here, there := &network{fails: map[string]error{}}, &network{fails: map[string]error{"192.0.2.1:2379": syscall.ECONNREFUSED}}
	createEnactment(t, "hosts.cp-1")
	other := createEnactment(t, "hosts.cp-2")
	startObserver(t, "cp-2", here.dialAddress)
	startObserver(t, "cp-3", there.dialAddress)
	requestRound(t, "hosts.cp-1", 1)
	g.Eventually(listResults("hosts.cp-1")).WithContext(t.Context()).
		Should(HaveExactElements("cp-2 1 6443=Open 2379=Open", "cp-3 1 6443=Open 2379=Refused"))

	condition := map[string]any{
		"type": "Progressing", "status": "True", "reason": "Probing", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z",
	}
	status := map[string]any{"ruleset": "v1", "conditions": []any{condition}}
	g.Expect(applyStatus(t.Context(), admin, v1alpha1.FieldManagerRollout, "hosts.cp-1", status)).To(Succeed())
	here.setFailure("192.0.2.1:6443", syscall.EHOSTUNREACH)
	requestRound(t, "hosts.cp-1", 2)
	g.Eventually(listResults("hosts.cp-1")).WithContext(t.Context()).
		Should(HaveExactElements("cp-2 2 6443=Unreachable 2379=Open", "cp-3 2 6443=Open 2379=Refused"))
	// An apply with one field less removes the field, and the observers' results stay.
	g.Expect(applyStatus(t.Context(), admin, v1alpha1.FieldManagerRollout, "hosts.cp-1", map[string]any{"ruleset": "v2"})).To(Succeed())

	e := &v1alpha1.ControlPlaneNodeEnactment{}
	g.Expect(admin.Get(t.Context(), client.ObjectKey{Name: "hosts.cp-1"}, e)).To(Succeed())
	g.Expect(e.Status.Ruleset).To(Equal("v2"))
	g.Expect(e.Status.Conditions).To(BeEmpty())
	g.Expect(e.Status.Observers).To(HaveLen(2))
	g.Expect(listResults(other.Name)(t.Context())).To(BeEmpty(), "an observer answered without a request")
}

func TestASeventeenthObserverIsRefused(t *testing.T) {
	g := NewWithT(t)
	createEnactment(t, "hosts.full")
	for i := range v1alpha1.MaxObservers {
		name := fmt.Sprint("node-", i)
		status := map[string]any{"observers": []any{observerItem(name)}}
		g.Expect(applyStatus(t.Context(), admin, probe.FieldManager(name), "hosts.full", status)).To(Succeed())
	}
	requestRound(t, "hosts.full", 2)
	// The last observer does not know of the faster observers yet.
	e := &v1alpha1.ControlPlaneNodeEnactment{}
	g.Expect(admin.Get(t.Context(), client.ObjectKey{Name: "hosts.full"}, e)).To(Succeed())
	e.Status.Observers = nil
	g.Expect(answerFromCache(t, e)).To(Succeed())
	g.Expect(listResults("hosts.full")(t.Context())).To(And(HaveLen(v1alpha1.MaxObservers), Not(ContainElement(HavePrefix("cp-2")))))
}

// The enactment is deleted and created again while an observer tries the targets.
func TestAnEnactmentThatWasReplacedIsNotAnswered(t *testing.T) {
	g := NewWithT(t)
	createEnactment(t, "hosts.cp-1")
	requestRound(t, "hosts.cp-1", 1)
	old := &v1alpha1.ControlPlaneNodeEnactment{}
	g.Expect(admin.Get(t.Context(), client.ObjectKey{Name: "hosts.cp-1"}, old)).To(Succeed())
	g.Expect(admin.Delete(t.Context(), old)).To(Succeed())
	g.Expect(answerFromCache(t, old)).To(Succeed())
	g.Expect(applyStatus(t.Context(), clientOf(t, "cp-2"), probe.FieldManager("cp-2"), old.Name, map[string]any{"observers": []any{observerItem("cp-2")}})).
		To(MatchError(apierrors.IsNotFound, "not found"), "an answer created an enactment")

	createEnactment(t, "hosts.cp-1")
	g.Expect(answerFromCache(t, old)).To(Succeed())
	g.Expect(listResults("hosts.cp-1")(t.Context())).To(BeEmpty())
}

// answerFromCache makes an observer answer an enactment, with a cache that first shows the
// given state.
func answerFromCache(t *testing.T, cached *v1alpha1.ControlPlaneNodeEnactment) error {
	t.Helper()
	observer := &probe.Observer{Client: &lateClient{clientOf(t, "cp-2"), cached}, Name: "cp-2", Dial: (&network{}).dialAddress}
	_, err := observer.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(cached)})
	return err
}

// lateClient is a client with a stale cache for the first read.
type lateClient struct {
	client.Client
	cached *v1alpha1.ControlPlaneNodeEnactment
}

// Get implements client.Client.
func (l *lateClient) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	if l.cached == nil {
		return l.Client.Get(ctx, key, object, opts...)
	}
	l.cached.DeepCopyInto(object.(*v1alpha1.ControlPlaneNodeEnactment))
	l.cached = nil
	return nil
}

// clientOf returns a client with the credentials of the probe on a node.
func clientOf(t *testing.T, node string) client.Client {
	t.Helper()
	c, err := client.New(probeCredentials(node), client.Options{Scheme: options.NewScheme()})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return c
}

// The credentials of a probe allow writes of the probe's own item only.
func TestAProbeMayWriteOnlyItsOwnItem(t *testing.T) {
	g := NewWithT(t)
	e := createEnactment(t, "hosts.cp-1")
	status := map[string]any{"ruleset": "v1", "observers": []any{observerItem("operator"), observerItem("cp-2")}}
	g.Expect(applyStatus(t.Context(), admin, v1alpha1.FieldManagerRollout, e.Name, status)).To(Succeed())
	own := clientOf(t, "cp-2")
	merge := func(patch string) client.Patch { return client.RawPatch("application/merge-patch+json", []byte(patch)) }
	named := &v1alpha1.ControlPlaneNodeEnactment{ObjectMeta: metav1.ObjectMeta{Name: e.Name}}
	apply := func(c client.Client, status map[string]any) func() error {
		return func() error { return applyStatus(t.Context(), c, "anybody", e.Name, status) }
	}
	// A new policy takes effect in the API server after a moment.
	g.Eventually(apply(own, map[string]any{"ruleset": "v2"}), deadline, interval).Should(MatchError(apierrors.IsForbidden, "forbidden"))

	refused := map[string]func() error{
		"the spec": func() error { return own.Patch(t.Context(), named, merge(`{"spec":{"probeRound":9}}`)) },
		"an annotation": func() error {
			return own.Patch(t.Context(), named, merge(`{"metadata":{"annotations":{"cpnp.dev/confirm":"1"}}}`))
		},
		"to create one": func() error {
			return own.Create(t.Context(), &v1alpha1.ControlPlaneNodeEnactment{ObjectMeta: metav1.ObjectMeta{Name: "new"}, Spec: e.Spec})
		},
		"to delete it":           func() error { return own.Delete(t.Context(), named) },
		"to read policies":       func() error { return own.List(t.Context(), &v1alpha1.ControlPlaneNetworkPolicyList{}) },
		"to read nodes":          func() error { return own.List(t.Context(), &corev1.NodeList{}) },
		"to read secrets":        func() error { return own.List(t.Context(), &corev1.SecretList{}) },
		"the ruleset":            apply(own, map[string]any{"ruleset": "v2"}),
		"what is asked":          apply(own, map[string]any{"probeRequestHash": "x"}),
		"a field that is absent": apply(own, map[string]any{"previousRuleset": "v0"}),
		"to take a field out":    func() error { return own.Status().Patch(t.Context(), named, merge(`{"status":{"ruleset":null}}`)) },
		"to take the status out": func() error { return own.Status().Patch(t.Context(), named, merge(`{"status":null}`)) },
		"the operator's item":    apply(own, map[string]any{"observers": []any{map[string]any{"name": "operator", "probeRound": int64(7), "time": "2026-01-02T03:04:05Z"}}}),
		"another node's item":    apply(own, map[string]any{"observers": []any{observerItem("cp-3")}}),
		"to take others' out":    func() error { return own.Status().Patch(t.Context(), named, merge(`{"status":{"observers":[]}}`)) },
		"without a node":         apply(clientOf(t, ""), map[string]any{"observers": []any{observerItem("cp-3")}}),
	}
	for name, try := range refused {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(try()).To(MatchError(apierrors.IsForbidden, "forbidden"))
		})
	}
	before := observerItem("cp-2")
	before["probeRound"] = int64(2)
	g.Expect(apply(own, map[string]any{"observers": []any{before}})()).To(Succeed(), "the probe's own item")
	g.Expect(listResults(e.Name)(t.Context())).To(HaveExactElements("cp-2 2", "operator 1"))
	g.Expect(own.Status().Patch(t.Context(), named, merge(`{"metadata":{"annotations":{"cpnp.dev/confirm":"1"}},"spec":{"probeRound":9}}`))).To(Succeed())
	latest := &v1alpha1.ControlPlaneNodeEnactment{}
	g.Expect(admin.Get(t.Context(), client.ObjectKey{Name: e.Name}, latest)).To(Succeed())
	g.Expect(latest.Annotations).To(BeEmpty(), "other fields in a write of the status were stored")
	g.Expect(latest.Spec).To(Equal(e.Spec))
}

func TestNodeAndPolicyOfAnEnactmentCannotChange(t *testing.T) {
	g := NewWithT(t)
	e := createEnactment(t, "hosts.cp-1")
	for _, change := range []func(*v1alpha1.ControlPlaneNodeEnactmentSpec){
		func(spec *v1alpha1.ControlPlaneNodeEnactmentSpec) { spec.Node = "cp-2" },
		func(spec *v1alpha1.ControlPlaneNodeEnactmentSpec) { spec.Policy = "others" },
	} {
		changed := e.DeepCopy()
		change(&changed.Spec)
		g.Expect(admin.Update(t.Context(), changed)).To(MatchError(ContainSubstring("cannot be changed")))
	}
}

// The shipped pods are admitted where Pod Security is enforced, and refer only to existing
// objects.
func TestShippedPodsAreAdmitted(t *testing.T) {
	g := NewWithT(t)
	install := cluster.Kubectl(t.Context(), "apply", "--server-side", "--kustomize", "../../config/default")
	out, err := install.CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), string(out))
	observer, operator := &appsv1.DaemonSet{}, &appsv1.Deployment{}
	g.Expect(admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "cpnp-probe"}, observer)).To(Succeed())
	g.Expect(admin.Get(t.Context(), client.ObjectKey{Namespace: "cpnp-system", Name: "cpnp-controller-manager"}, operator)).To(Succeed())
	g.Expect(observer.Spec.Template.Spec.ServiceAccountName).To(Equal(account))
	for namespace, template := range map[string]corev1.PodTemplateSpec{
		observer.Namespace: observer.Spec.Template, operator.Namespace: operator.Spec.Template,
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "pod", Labels: template.Labels}, Spec: template.Spec}
		g.Expect(admin.Create(t.Context(), pod, client.DryRunAll)).To(Succeed(), namespace)
	}
	var sources []string
	for _, variable := range operator.Spec.Template.Spec.Containers[0].Env {
		if from := variable.ValueFrom.FieldRef; from != nil {
			sources = append(sources, variable.Name+"="+from.FieldPath)
		} else {
			sources = append(sources, variable.Name+"="+variable.ValueFrom.ResourceFieldRef.Resource)
		}
	}
	g.Expect(sources).To(HaveExactElements("POD_NAMESPACE=metadata.namespace", "POD_NAME=metadata.name",
		"POD_IPS=status.podIPs", "HOST_IPS=status.hostIPs", "MEMORY_LIMIT=limits.memory"), "it knows itself, and observes too")
}

// The program itself observes, started as by the DaemonSet except for the addresses.
func TestProgramObserves(t *testing.T) {
	g := NewWithT(t)
	program := filepath.Join(t.TempDir(), "manager")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "../..").CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), string(out))
	listener, err := net.Listen("tcp", ":0")
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { _ = listener.Close() }()

	e := createEnactment(t, "hosts.program")
	port := listener.Addr().(*net.TCPAddr).Port
	asked := []v1alpha1.ProbeTarget{{Address: "127.0.0.1", Port: v1alpha1.PortNumber(port), Protocol: v1alpha1.ProbeTCP}}
	want := fmt.Sprintf("cp-2 1 %d=Unreachable", port) // although a server listens there
	if address := ownAddress(t); address != "" {
		asked = append(asked, v1alpha1.ProbeTarget{Address: address, Port: v1alpha1.PortNumber(port), Protocol: v1alpha1.ProbeTCP})
		want += fmt.Sprintf(" %d=Open", port)
	}
	targets, err := json.Marshal(asked)
	g.Expect(err).NotTo(HaveOccurred())
	patch := fmt.Appendf(nil, `{"spec":{"probeRound":1,"targets":%s}}`, targets)
	g.Expect(admin.Patch(t.Context(), e, client.RawPatch("application/merge-patch+json", patch))).To(Succeed())

	markDecided(t, e)

	var log strings.Builder
	run := exec.CommandContext(t.Context(), program, "probe", "--health-probe-bind-address=0", "--kubeconfig="+writeKubeconfig(t, "cp-2"))
	run.Env = append(os.Environ(), "NODE_NAME=cp-2")
	run.Stdout, run.Stderr = &log, &log
	g.Expect(run.Start()).To(Succeed())
	g.Eventually(listResults(e.Name), deadline, interval).WithContext(t.Context()).Should(HaveExactElements(want))
	g.Expect(run.Process.Signal(syscall.SIGTERM)).To(Succeed())
	g.Expect(run.Wait()).To(Succeed(), "%s", &log)
}

// writeKubeconfig returns the path of a kubeconfig with the credentials of the probe on a
// node.
func writeKubeconfig(t *testing.T, node string) string {
	t.Helper()
	g := NewWithT(t)
	config, err := clientcmd.LoadFromFile(cluster.KubeconfigPath)
	g.Expect(err).NotTo(HaveOccurred())
	impersonated := probeCredentials(node).Impersonate
	for _, user := range config.AuthInfos {
		user.Impersonate, user.ImpersonateGroups, user.ImpersonateUserExtra = impersonated.UserName, impersonated.Groups, impersonated.Extra
	}
	path := filepath.Join(t.TempDir(), "kubeconfig")
	g.Expect(clientcmd.WriteToFile(*config, path)).To(Succeed())
	return path
}
