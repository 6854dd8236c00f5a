// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/controllers"
	render "github.com/cpnp-dev/cpnp-operator/internal/plan/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/network"
)

// ration is a connection to the API server through which so many writes go, and no
// more: the operator dies after the last. Calico's objects count, and with records
// the enactments too.
type ration struct {
	records bool

	mu   sync.Mutex
	left int
	used int
}

func (r *ration) config() *rest.Config {
	config := rest.CopyConfig(operatorConfig)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return rationed{r, next} })
	return config
}

type rationed struct {
	*ration
	next http.RoundTripper
}

func (r rationed) RoundTrip(request *http.Request) (*http.Response, error) {
	path := request.URL.Path
	counts := strings.Contains(path, "/projectcalico.org/") || r.records && strings.Contains(path, "/controlplanenodeenactments")
	if request.Method != http.MethodGet && counts && !r.take() {
		return nil, errors.New("the operator is dead")
	}
	return r.next.RoundTrip(request)
}

func (r *ration) take() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used == r.left {
		return false
	}
	r.used++
	return true
}

func (r *ration) spent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used == r.left
}

// watchman tries all the time what must never be cut.
type watchman struct {
	cuts []string // read after it has stopped
	done chan struct{}
	end  context.CancelFunc
}

// watch tries etcd and the kubelet of cp-1 from the other node of the control
// plane, and from cp-1 itself; and the API server's ports from everybody.
func (f *field) watch() *watchman {
	f.answer(network.TCP, f.apiServerPort())
	var flows []watched
	for _, role := range []profile.Role{profile.RoleControlPlane, profile.RoleSelf} {
		for _, port := range []uint16{etcdPort, peersPort, kubeletPort} {
			flows = append(flows, watched{f.senders(role)[0], port})
		}
	}
	return f.watchFlows(slices.Concat(flows, f.toAPIServer(f.apiServerPort()), f.toAPIServer(apiServerPort)))
}

// watchAPIServer tries the API server's port of cp-1, which is a failsafe port, from
// everybody.
func (f *field) watchAPIServer() *watchman { return f.watchFlows(f.toAPIServer(apiServerPort)) }

// watched is a flow to a port of cp-1.
type watched struct {
	sender
	port uint16
}

func (f *field) toAPIServer(port uint16) []watched {
	var flows []watched
	for _, role := range []profile.Role{profile.RoleNodes, profile.RoleAdmin, profile.RoleSelf} {
		for _, s := range f.senders(role) {
			flows = append(flows, watched{s, port})
		}
	}
	return flows
}

// watchFlows tries a few flows at each beat.
func (f *field) watchFlows(flows []watched) *watchman {
	const atOnce = 5
	next := 0
	return f.watchOver(func(cut func(string)) {
		for range min(atOnce, len(flows)) {
			flow := flows[next%len(flows)]
			next++
			if got := f.sends(flow.sender, network.TCP, flow.port); got != open {
				cut(fmt.Sprintf("%s to port %d: %s", flow.machine.Name, flow.port, got))
			}
		}
	})
}

// watchOver has a watchman try again and again, and tell what was cut.
func (f *field) watchOver(try func(cut func(string))) *watchman {
	ctx, cancel := context.WithCancel(f.t.Context())
	w := &watchman{done: make(chan struct{}), end: cancel}
	go func() {
		defer close(w.done)
		beat := time.NewTicker(5 * time.Millisecond)
		defer beat.Stop()
		for ctx.Err() == nil {
			<-beat.C
			try(func(text string) { w.cuts = append(w.cuts, time.Now().Format(time.StampMilli)+" "+text) })
		}
	}()
	f.t.Cleanup(func() { w.stop() })
	return w
}

func (w *watchman) stop() []string {
	w.end()
	<-w.done
	return w.cuts
}

// The operator dies after every single write: as a policy comes, changes and
// goes, as nodes join and are lost, and where an older operator rendered other
// rules. Each time it goes on from there, and the required flows go on too: there
// are new connections all the time, and not one is cut.
func TestNoPrefixOfTheWritesCutsWhatIsRequired(t *testing.T) {
	f := enter(t, calico.IPTables)
	f.create(f.policy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }, etcdOnly))
	watchman := f.watch()
	members, more := []string{"cp-2", "itself", "loopback"}, []string{"cp-2", "worker-1", "itself", "loopback"}
	programmed := func() bool { return condition(v1alpha1.ConditionProgrammed)() == "True/Programmed" }
	for _, step := range []struct {
		what    string
		change  func()
		through func() bool
		records bool
		least   int // writes
		reach   []string
	}{
		{"the policy comes", func() {}, programmed, true, 40, members},
		{"it changes", func() {
			f.update(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
				s.Network.Peers = []v1alpha1.Peer{{Name: "backup", CIDRs: []v1alpha1.CIDR{"192.0.2.77/32"}}}
				s.Network.Components[0].AllowFrom = append(s.Network.Components[0].AllowFrom, v1alpha1.PeerReference{Peer: "backup"})
			})
		}, programmed, false, 12, members},
		{"a node joins the control plane", func() { f.role("worker-1", ptr.To("")) }, func() bool {
			return programmed() && phase("worker-1")() == "Enforced/Unproven"
		}, false, 3, more},
		{"a node is lost", func() { deleteNow(f, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-3"}}) }, func() bool {
			return programmed() && !slices.Contains(inventory(t), "HostEndpoint/cpnp-cp-3")
		}, false, 3, more},
		{"the operator renders other rules than the one before it", f.asOlderOperator, func() bool {
			return programmed() && !slices.ContainsFunc(inventory(t), func(name string) bool { return strings.HasSuffix(name, older) })
		}, false, 12, more},
		{"the policy goes", func() { f.Expect(admin.Delete(t.Context(), policyNow())).To(Succeed()) }, func() bool { return policyNow() == nil }, false, 12, everybody},
	} {
		step.change()
		writes := f.oneByOne(step.records, step.through)
		t.Logf("%s: %d writes, and the operator ended after each", step.what, writes)
		f.Expect(writes).To(BeNumerically(">=", step.least))
		f.becomes(etcdPort, only(step.reach...))
	}
	f.Expect(watchman.stop()).To(BeEmpty())
}

// etcdOnly leaves out the kubelet.
func etcdOnly(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
	s.Network.Components = s.Network.Components[:1]
}

// role gives a node the role of the control plane, or takes it away.
func (f *field) role(node string, value *string) {
	f.t.Helper()
	text := "null"
	if value != nil {
		text = strconv.Quote(*value)
	}
	patch := `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":` + text + `}}}`
	f.Expect(admin.Patch(f.background(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}},
		client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

// older is the version of what an older operator rendered.
const older = "0000beef"

// asOlderOperator puts rules of another version in the place of those that there
// are, as an older operator would have rendered, and recorded, them.
func (f *field) asOlderOperator() {
	f.t.Helper()
	owner := client.FieldOwner(v1alpha1.FieldManagerNetwork)
	var rules v3.GlobalNetworkPolicyList
	f.Expect(admin.List(f.t.Context(), &rules)).To(Succeed())
	var replaced []client.Object
	for _, policy := range rules.Items {
		version := policy.Labels[render.LabelVersion]
		if version == "" {
			continue
		}
		content, err := render.Content(&v3.GlobalNetworkPolicy{
			TypeMeta: metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindGlobalNetworkPolicy},
			ObjectMeta: metav1.ObjectMeta{
				Name:   strings.ReplaceAll(policy.Name, version, older),
				Labels: map[string]string{v1alpha1.LabelPolicy: policyName, render.LabelVersion: older},
			},
			Spec: policy.Spec,
		})
		f.Expect(err).NotTo(HaveOccurred())
		spec, _ := content["spec"].(map[string]any)
		spec["selector"] = strings.ReplaceAll(policy.Spec.Selector, version, older)
		f.Expect(admin.Apply(f.t.Context(), client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: content}), owner)).To(Succeed())
		replaced = append(replaced, &policy)
	}
	f.Expect(replaced).NotTo(BeEmpty())
	f.settle()
	var endpoints v3.HostEndpointList
	f.Expect(admin.List(f.t.Context(), &endpoints)).To(Succeed())
	for i := range endpoints.Items {
		before := endpoints.Items[i].DeepCopy()
		endpoints.Items[i].Labels[render.LabelVersion] = older
		f.Expect(admin.Patch(f.t.Context(), &endpoints.Items[i], client.MergeFrom(before), owner)).To(Succeed())
	}
	var configurations v3.FelixConfigurationList
	f.Expect(admin.List(f.t.Context(), &configurations, client.HasLabels{render.LabelVersion})).To(Succeed())
	for i := range configurations.Items {
		before := configurations.Items[i].DeepCopy()
		configurations.Items[i].Labels[render.LabelVersion] = older
		f.Expect(admin.Patch(f.t.Context(), &configurations.Items[i], client.MergeFrom(before), owner)).To(Succeed())
	}
	f.Expect(configurations.Items).NotTo(BeEmpty())
	var records v1alpha1.ControlPlaneNodeEnactmentList
	f.Expect(admin.List(f.t.Context(), &records)).To(Succeed())
	for i := range records.Items {
		before := records.Items[i].DeepCopy()
		records.Items[i].Status.Version = older
		f.Expect(admin.Status().Patch(f.t.Context(), &records.Items[i], client.MergeFrom(before),
			client.FieldOwner(v1alpha1.FieldManagerRollout))).To(Succeed())
	}
	f.settle()
	for _, policy := range replaced {
		deleteNow(f, policy)
	}
}

// settle lets what was written reach every Felix, as an operator would: nothing
// tells when that is so.
func (f *field) settle() {
	start := time.Now()
	f.Eventually(func() time.Duration { return time.Since(start) }, patience, tick).Should(BeNumerically(">", 2*time.Second))
}

// oneByOne starts the operator for one write each time, until it is through.
// It waits less long between the stages than it does otherwise, and starts that
// often in a row: what is cut for want of time is cut here.
func (f *field) oneByOne(records bool, through func() bool) (writes int) {
	f.t.Helper()
	const enough = 150
	for ; writes < enough; writes++ {
		r := &ration{left: 1, records: records}
		stop := f.operatorWith(r.config(), controllers.Options{StageTime: time.Second})
		f.Eventually(func() bool { return r.spent() || through() }, patience, tick).Should(BeTrue())
		stop()
		if !r.spent() {
			return writes
		}
	}
	f.t.Fatalf("not through after %d writes", enough)
	return 0
}
