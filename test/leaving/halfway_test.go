// SPDX-License-Identifier: Apache-2.0

package leaving

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cpnp-dev/cpnp-operator/test/field"

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
	render "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// ration is a connection to the API server with a limited number of writes: after the last
// allowed write, the operator is dead. Writes of Calico's objects count, and with records
// also writes of enactments.
type ration struct {
	records bool

	mu   sync.Mutex
	left int
	used int
}

func (r *ration) restConfig() *rest.Config {
	config := rest.CopyConfig(field.OperatorConfig)
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
	if request.Method != http.MethodGet && counts && !r.takeWrite() {
		return nil, errors.New("the operator is dead")
	}
	return r.next.RoundTrip(request)
}

func (r *ration) takeWrite() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used == r.left {
		return false
	}
	r.used++
	return true
}

func (r *ration) isSpent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.used == r.left
}

// The operator dies after every single write: while a policy is created, changed and
// deleted, while nodes join and are lost, and while rules of an older operator are
// replaced. After each restart the operator continues, and no required flow is cut: new
// connections are tried all the time.
func TestNoPrefixOfWritesCutsRequiredFlows(t *testing.T) {
	f := field.StartCluster(t, calico.IPTables)
	f.CreatePolicy(f.NewPolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) { s.Network.Failsafe = v1alpha1.FailsafeScope }, field.EtcdOnly))
	watchman := f.WatchRequiredFlows()
	members, more := []string{"cp-2", "itself", "loopback"}, []string{"cp-2", "worker-1", "itself", "loopback"}
	programmed := func() bool { return field.ConditionOf(v1alpha1.ConditionProgrammed)() == "True/AsDeclared" }
	for _, step := range []struct {
		what    string
		change  func()
		through func() bool
		records bool
		least   int // how often the operator ends
		reach   []string
	}{
		{"the policy is created", func() {}, programmed, true, 16, members},
		{"the policy changes", func() {
			f.UpdatePolicy(func(s *v1alpha1.ControlPlaneNetworkPolicySpec) {
				s.Network.Peers = []v1alpha1.Peer{{Name: "backup", CIDRs: []v1alpha1.CIDR{"192.0.2.77/32"}}}
				s.Network.Components[0].AllowFrom = append(s.Network.Components[0].AllowFrom, v1alpha1.PeerReference{Peer: "backup"})
			})
		}, programmed, false, 12, members},
		{"a node joins the control plane", func() { setRole(f, "worker-1", ptr.To("")) }, func() bool {
			return programmed() && field.PhaseOf("worker-1")() == "Enforced/Unproven"
		}, false, 3, more},
		{"a node is lost", func() { field.DeleteNow(f, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-3"}}) }, func() bool {
			return programmed() && !slices.Contains(field.ListInventory(t), "HostEndpoint/cpnp-cp-3") && !isInSet(f, "192.0.2.3/32")
		}, false, 3, more},
		{"the operator renders other rules than the operator before", func() { replaceByOlderRules(f) }, func() bool {
			return programmed() && !slices.ContainsFunc(field.ListInventory(t), func(name string) bool { return strings.HasSuffix(name, olderVersion) })
		}, false, 12, more},
		{"the policy is deleted", func() { f.Expect(field.Admin.Delete(t.Context(), field.PolicyNow())).To(Succeed()) }, func() bool { return field.PolicyNow() == nil }, false, 12, field.AllClients},
	} {
		step.change()
		ends := restartAfterEachWrite(f, step.records, step.through)
		t.Logf("%s: the operator ended %d times on the way", step.what, ends)
		f.Expect(ends).To(BeNumerically(">=", step.least))
		f.WaitForReachability(field.EtcdPort, field.OnlyFrom(step.reach...))
	}
	f.Expect(watchman.StopWatching()).To(BeEmpty())
}

// isInSet tells whether a network is in a set. The status may not show the remaining writes
// yet: an operator that has just started reports after its first decision.
func isInSet(f *field.Field, network string) bool {
	f.T.Helper()
	var sets v3.GlobalNetworkSetList
	f.Expect(field.Admin.List(f.T.Context(), &sets)).To(Succeed())
	return slices.ContainsFunc(sets.Items, func(set v3.GlobalNetworkSet) bool { return slices.Contains(set.Spec.Nets, network) })
}

// setRole gives a node the role of the control plane, or removes the role where the value
// is nil.
func setRole(f *field.Field, node string, value *string) {
	f.T.Helper()
	text := "null"
	if value != nil {
		text = strconv.Quote(*value)
	}
	patch := `{"metadata":{"labels":{"node-role.kubernetes.io/control-plane":` + text + `}}}`
	f.Expect(field.Admin.Patch(f.BackgroundContext(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}},
		client.RawPatch(types.MergePatchType, []byte(patch)))).To(Succeed())
}

// olderVersion is the version of the rules of an older operator.
const olderVersion = "0000beef"

// replaceByOlderRules replaces the rules by rules of another version, as an older operator
// would have rendered and recorded them.
func replaceByOlderRules(f *field.Field) {
	f.T.Helper()
	owner := client.FieldOwner(v1alpha1.FieldManagerNetwork)
	var rules v3.GlobalNetworkPolicyList
	f.Expect(field.Admin.List(f.T.Context(), &rules)).To(Succeed())
	var replaced []client.Object
	for _, policy := range rules.Items {
		version := policy.Labels[render.LabelVersion]
		if version == "" {
			continue
		}
		content, err := render.WrittenContent(&v3.GlobalNetworkPolicy{
			TypeMeta: metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindGlobalNetworkPolicy},
			ObjectMeta: metav1.ObjectMeta{
				Name:   strings.ReplaceAll(policy.Name, version, olderVersion),
				Labels: map[string]string{v1alpha1.LabelPolicy: field.PolicyName, render.LabelVersion: olderVersion},
			},
			Spec: policy.Spec,
		})
		f.Expect(err).NotTo(HaveOccurred())
		spec, _ := content["spec"].(map[string]any)
		spec["selector"] = strings.ReplaceAll(policy.Spec.Selector, version, olderVersion)
		f.Expect(field.Admin.Apply(f.T.Context(), client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: content}), owner)).To(Succeed())
		replaced = append(replaced, &policy)
	}
	f.Expect(replaced).NotTo(BeEmpty())
	waitForFelix(f)
	var endpoints v3.HostEndpointList
	f.Expect(field.Admin.List(f.T.Context(), &endpoints)).To(Succeed())
	for i := range endpoints.Items {
		before := endpoints.Items[i].DeepCopy()
		endpoints.Items[i].Labels[render.LabelVersion] = olderVersion
		f.Expect(field.Admin.Patch(f.T.Context(), &endpoints.Items[i], client.MergeFrom(before), owner)).To(Succeed())
	}
	var configurations v3.FelixConfigurationList
	f.Expect(field.Admin.List(f.T.Context(), &configurations, client.HasLabels{render.LabelVersion})).To(Succeed())
	for i := range configurations.Items {
		before := configurations.Items[i].DeepCopy()
		configurations.Items[i].Labels[render.LabelVersion] = olderVersion
		f.Expect(field.Admin.Patch(f.T.Context(), &configurations.Items[i], client.MergeFrom(before), owner)).To(Succeed())
	}
	f.Expect(configurations.Items).NotTo(BeEmpty())
	var records v1alpha1.ControlPlaneNodeEnactmentList
	f.Expect(field.Admin.List(f.T.Context(), &records)).To(Succeed())
	for i := range records.Items {
		before := records.Items[i].DeepCopy()
		records.Items[i].Status.Ruleset = olderVersion
		f.Expect(field.Admin.Status().Patch(f.T.Context(), &records.Items[i], client.MergeFrom(before),
			client.FieldOwner(v1alpha1.FieldManagerRollout))).To(Succeed())
	}
	waitForFelix(f)
	for _, policy := range replaced {
		field.DeleteNow(f, policy)
	}
}

// waitForFelix waits until the writes have reached every Felix, as an operator does. Felix
// does not tell when the writes have arrived.
func waitForFelix(f *field.Field) {
	start := time.Now()
	f.Eventually(func() time.Duration { return time.Since(start) }, field.Patience, field.Tick).Should(BeNumerically(">", 2*time.Second))
}

// restartAfterEachWrite starts the operator for one write each time, until all writes are
// made, and returns the number of ended operators. Writing an enactment takes two or three
// requests, and only the first is repeated by the next operator. So, where enactments
// count, every other operator may make three writes.
//
// These operators wait a shorter time between write stages than usual, and start often in a
// row. A missing wait would show here as a cut flow.
func restartAfterEachWrite(f *field.Field, records bool, through func() bool) (ends int) {
	f.T.Helper()
	const enough = 100
	for ; ends < enough; ends++ {
		r := &ration{left: 1, records: records}
		if records && ends%2 == 1 {
			r.left = 3
		}
		stop := f.StartOperatorWith(r.restConfig(), controllers.Options{StageTime: time.Second})
		f.Eventually(func() bool { return r.isSpent() || through() }, field.Patience, field.Tick).Should(BeTrue())
		stop()
		if !r.isSpent() {
			return ends
		}
	}
	f.T.Fatalf("the writes are not complete after the operator ended %d times", enough)
	return 0
}
