// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/backend"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/dataplane"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/judge"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	operator "github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/internal/pipeline"
	"github.com/cpnp-dev/cpnp-operator/internal/plan"
	"github.com/cpnp-dev/cpnp-operator/internal/profile"
	"github.com/cpnp-dev/cpnp-operator/internal/report"
	"github.com/cpnp-dev/cpnp-operator/internal/reporter"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
	"github.com/cpnp-dev/cpnp-operator/test/crd"
)

// Clusters that people have: each file of testdata/clusters holds the objects of
// one, a policy for it, and what the operator must say and write.

// expected is the document of kind Expected.
type expected struct {
	Kind string `json:"kind"`
	// Operator is the pod that the operator is in, by namespace/name.
	Operator string `json:"operator"`
	// Refused is a part of the words with which the API server refuses the policy.
	Refused string `json:"refused"`
	// Profile is a part of "distribution/CNI" in the status.
	Profile string `json:"profile"`
	// Conditions of the policy. Those that are not named may be as they are.
	Conditions []expectedCondition `json:"conditions"`
	// NetworkPolicies are rules that must be among those rendered, by
	// namespace/name: addresses of ipBlocks.
	NetworkPolicies map[string][]string `json:"networkPolicies"`
	// Drift are the findings that must be in the status.
	Drift []expectedDrift `json:"drift"`
	// Hosts says whether objects of Calico are written. Unset, either may be.
	Hosts *bool `json:"hosts"`
	// Flows are connections, and what becomes of them after all writes: Allowed
	// or Denied.
	Flows []expectedFlow `json:"flows"`
}

type expectedCondition struct {
	Type, Status, Reason string
	// Says are parts of its message, Silent are what must not be in it.
	Says, Silent []string
}

type expectedDrift struct {
	Object, Field string
	State         v1alpha1.DriftState
	// Says is a part of its message.
	Says string
}

type expectedFlow struct {
	Why, From, To, Node, Interface string
	Port                           uint16
	// Protocol is tcp unless it is udp.
	Protocol string
	Becomes  dataplane.Decision
}

func TestClustersThatPeopleHave(t *testing.T) {
	kinds, err := crd.Load("../../config/crd/bases")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	files, err := filepath.Glob("testdata/clusters/*.yaml")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(files).NotTo(BeEmpty())
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			c := readCluster(t, kinds, file)
			if c.expected.Refused != "" || len(c.refusals) > 0 {
				NewWithT(t).Expect(fmt.Sprint(c.refusals)).To(ContainSubstring(c.expected.Refused))
				NewWithT(t).Expect(c.expected.Refused).NotTo(BeEmpty(), "refused: %v", c.refusals)
				return
			}
			c.compare(t)
		})
	}
}

// cluster is what a file holds.
type cluster struct {
	expected expected
	objects  []client.Object
	pods     []client.Object // those of the operator's namespace, and others, as they are
	calico   calico.Live
	policy   string
	refusals []error
}

func readCluster(t *testing.T, kinds crd.Kinds, file string) *cluster {
	t.Helper()
	g := NewWithT(t)
	text, err := os.ReadFile(file)
	g.Expect(err).NotTo(HaveOccurred())
	c := &cluster{calico: calico.Live{Mode: calico.Absent}}
	for document := range strings.SplitSeq(string(text), "\n---\n") {
		var kind struct{ Kind string }
		g.Expect(yaml.Unmarshal([]byte(document), &kind)).To(Succeed())
		switch kind.Kind {
		case "Expected":
			g.Expect(yaml.UnmarshalStrict([]byte(document), &c.expected)).To(Succeed())
		case "ControlPlaneNetworkPolicy":
			stored, errs := kinds.Create([]byte(document))
			c.refusals = append(c.refusals, errs...)
			policy := &v1alpha1.ControlPlaneNetworkPolicy{}
			if len(errs) == 0 {
				g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(stored, policy)).To(Succeed())
				policy.Generation, policy.Finalizers, c.policy = 1, []string{v1alpha1.Finalizer}, policy.Name
				c.objects = append(c.objects, policy)
			}
		default:
			c.add(t, []byte(document))
		}
	}
	g.Expect(c.expected.Kind).NotTo(BeEmpty(), "a document of kind Expected must say what is expected")
	return c
}

// add takes an object of Kubernetes or of Calico as a cache would hold it.
func (c *cluster) add(t *testing.T, document []byte) {
	t.Helper()
	g := NewWithT(t)
	var head struct{ APIVersion, Kind string }
	g.Expect(yaml.Unmarshal(document, &head)).To(Succeed())
	if head.APIVersion == v3.SchemeGroupVersion.String() {
		c.calico.Mode = calico.Aggregated
	}
	switch head.Kind {
	case v3.KindTier:
		c.calico.Tiers = append(c.calico.Tiers, parsed[v3.Tier](g, document))
	case v3.KindGlobalNetworkPolicy:
		c.calico.Policies = append(c.calico.Policies, parsed[v3.GlobalNetworkPolicy](g, document))
	case v3.KindGlobalNetworkSet:
		c.calico.Sets = append(c.calico.Sets, parsed[v3.GlobalNetworkSet](g, document))
	case v3.KindHostEndpoint:
		c.calico.Endpoints = append(c.calico.Endpoints, parsed[v3.HostEndpoint](g, document))
	case v3.KindFelixConfiguration:
		c.calico.Felix = append(c.calico.Felix, parsed[v3.FelixConfiguration](g, document))
	case v3.KindIPPool:
		c.calico.Pools = append(c.calico.Pools, parsed[v3.IPPool](g, document))
	default:
		object, err := operator.NewScheme().New(schema.FromAPIVersionAndKind(head.APIVersion, head.Kind))
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(yaml.UnmarshalStrict(document, object)).To(Succeed(), "%s", document)
		if pod, is := object.(*corev1.Pod); is {
			slim, err := state.TransformOwnPod(pod)
			g.Expect(err).NotTo(HaveOccurred())
			c.pods = append(c.pods, slim.(client.Object))
		}
		c.objects = append(c.objects, cached(g, object.(client.Object)))
	}
}

func parsed[T any](g *WithT, document []byte) (object T) {
	g.Expect(yaml.UnmarshalStrict(document, &object)).To(Succeed(), "%s", document)
	return object
}

// cached returns the object as the operator's cache keeps it.
func cached(g *WithT, object client.Object) client.Object {
	transforms := operator.CacheOptions().ByObject
	for kind, by := range transforms {
		if fmt.Sprintf("%T", kind) == fmt.Sprintf("%T", object) && by.Transform != nil {
			slim, err := by.Transform(object)
			g.Expect(err).NotTo(HaveOccurred())
			if fmt.Sprintf("%T", slim) == fmt.Sprintf("%T", object) { // the observer shrinks a pod itself
				object = slim.(client.Object)
			}
		}
	}
	slim, err := state.TransformConfigMap(object)
	g.Expect(err).NotTo(HaveOccurred())
	return slim.(client.Object)
}

// observer reads the objects as from a cache.
func (c *cluster) observer() state.Observer {
	builder := fake.NewClientBuilder().WithScheme(operator.NewScheme()).WithReturnManagedFields().WithObjects(c.objects...).
		WithIndex(&corev1.Pod{}, "spec.nodeName", podNode)
	reader := builder.Build()
	observer := state.Observer{
		Cache: reader, Live: reader, Backend: func() backend.Live { return c.calico }, ConfigMaps: state.ConfigMaps{},
	}
	for _, name := range profile.ConfigMaps() {
		observer.ConfigMaps[name] = reader
	}
	if namespace, name, in := strings.Cut(c.expected.Operator, "/"); in {
		pods := fake.NewClientBuilder().WithScheme(operator.NewScheme()).WithObjects(c.pods...).Build()
		observer.Own = state.Own{Pod: types.NamespacedName{Namespace: namespace, Name: name}, Pods: pods}
	}
	return observer
}

func (c *cluster) compare(t *testing.T) {
	t.Helper()
	g, ctx := NewWithT(t), context.Background()
	observer := c.observer()
	snapshot, err := observer.TakeSnapshot(ctx)
	g.Expect(err).NotTo(HaveOccurred())
	policies := plan.Compile(snapshot.Policies)
	o := assess(plan.FindPolicy(policies, c.policy), policies, snapshot)
	clock := clocktesting.NewFakePassiveClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	reports := &reporter.Reporter{Observe: observer, Clock: clock, History: drift.NewHistory()}
	input, err := reports.Input(ctx, o)
	g.Expect(err).NotTo(HaveOccurred())
	status := report.StatusOf(input)

	for _, want := range c.expected.Conditions {
		compareCondition(t, want, status)
	}
	if c.expected.Profile != "" && g.Expect(status.Profile).NotTo(BeNil()) {
		g.Expect(status.Profile.Distribution + "/" + status.Profile.CNI).To(ContainSubstring(c.expected.Profile))
	}
	c.compareDrift(t, status)
	c.compareNetworkPolicies(t, o)
	writes := []judge.Write{}
	if o.Verdict.Holds && o.Policy.Enforces() {
		whole := o.Hosts
		whole.Now, whole.Objects = whole.Whole, whole.WholeObjects
		writes = judge.WritesOf(drift.CompareHosts(o.Policy, o.Policies, whole, snapshot.Backend))
	}
	if c.expected.Hosts != nil {
		g.Expect(len(writes) > 0).To(Equal(*c.expected.Hosts), "whether objects of Calico are written: %v", writes)
	}
	c.compareFlows(t, snapshot, writes)
}

func compareCondition(t *testing.T, want expectedCondition, status v1alpha1.ControlPlaneNetworkPolicyStatus) {
	t.Helper()
	is := meta.FindStatusCondition(status.Conditions, want.Type)
	if is == nil {
		if want.Status != "" {
			t.Errorf("there is no condition %s", want.Type)
		}
		return
	}
	if string(is.Status) != want.Status || want.Reason != "" && is.Reason != want.Reason {
		t.Errorf("%s is %s (%s), not %s (%s): %s", want.Type, is.Status, is.Reason, want.Status, want.Reason, is.Message)
	}
	for _, part := range want.Says {
		if !strings.Contains(is.Message, part) {
			t.Errorf("%s does not say %q: %s", want.Type, part, is.Message)
		}
	}
	for _, part := range want.Silent {
		if strings.Contains(is.Message, part) {
			t.Errorf("%s says %q: %s", want.Type, part, is.Message)
		}
	}
}

func (c *cluster) compareDrift(t *testing.T, status v1alpha1.ControlPlaneNetworkPolicyStatus) {
	t.Helper()
	for _, want := range c.expected.Drift {
		if !slices.ContainsFunc(status.Drift, func(d v1alpha1.Drift) bool {
			object := strings.Trim(d.Kind+"/"+d.Namespace+"/"+d.Name, "/")
			return strings.ReplaceAll(object, "//", "/") == want.Object && d.Field == want.Field && d.State == want.State && strings.Contains(d.Message, want.Says)
		}) {
			t.Errorf("%s of %s is not told as %s: %+v", want.Field, want.Object, want.State, status.Drift)
		}
	}
}

func (c *cluster) compareNetworkPolicies(t *testing.T, o pipeline.Assessment) {
	t.Helper()
	for name, addresses := range c.expected.NetworkPolicies {
		i := slices.IndexFunc(o.Network.Objects, func(p *networkingv1.NetworkPolicy) bool { return p.Namespace+"/"+p.Name == name })
		if i < 0 {
			t.Errorf("there is no NetworkPolicy %s; held: %v", name, o.Network.Held)
			continue
		}
		blocks := blocksOf(o.Network.Objects[i])
		for _, address := range addresses {
			if !slices.ContainsFunc(blocks, func(b netip.Prefix) bool { return b.Contains(netip.MustParseAddr(address)) }) {
				t.Errorf("NetworkPolicy %s does not let through %s: %v", name, address, blocks)
			}
		}
	}
}

func (c *cluster) compareFlows(t *testing.T, snapshot state.Snapshot, writes []judge.Write) {
	t.Helper()
	if len(c.expected.Flows) == 0 {
		return
	}
	world := dataplane.NewWorld(judge.StateAfter(calico.Of(snapshot.Backend), writes), calicoNodes(snapshot))
	for _, want := range c.expected.Flows {
		flow := dataplane.Flow{
			From: netip.MustParseAddr(want.From), To: netip.MustParseAddr(want.To), Node: want.Node,
			Interface: want.Interface, Protocol: dataplane.TCP, Port: want.Port,
		}
		if want.Protocol == "udp" {
			flow.Protocol = dataplane.UDP
		}
		if is := world.VerdictOn(flow); is.Decision != want.Becomes {
			t.Errorf("%s: %s is %s, not %s: %s", want.Why, flow, is.Decision, want.Becomes, is.Reason)
		}
	}
}

// podNode is the index by which the pods of a node are listed.
func podNode(object client.Object) []string { return []string{object.(*corev1.Pod).Spec.NodeName} }

func blocksOf(policy *networkingv1.NetworkPolicy) []netip.Prefix {
	var blocks []netip.Prefix
	add := func(peers []networkingv1.NetworkPolicyPeer) {
		for _, peer := range peers {
			if peer.IPBlock != nil {
				blocks = append(blocks, netip.MustParsePrefix(peer.IPBlock.CIDR))
			}
		}
	}
	for _, rule := range policy.Spec.Ingress {
		add(rule.From)
	}
	for _, rule := range policy.Spec.Egress {
		add(rule.To)
	}
	return blocks
}
