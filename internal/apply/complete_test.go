// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	_ "github.com/cpnp-dev/cpnp-operator/internal/backend/calico" // registers its kinds
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

func set(nets ...string) *v3.GlobalNetworkSet {
	return &v3.GlobalNetworkSet{
		TypeMeta:   metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindGlobalNetworkSet},
		ObjectMeta: metav1.ObjectMeta{Name: "cpnp-p-nodes-0", Labels: map[string]string{v1alpha1.LabelPolicy: "p"}},
		Spec:       v3.GlobalNetworkSetSpec{Nets: nets},
	}
}

func there(s *v3.GlobalNetworkSet) *v3.GlobalNetworkSet {
	s.UID, s.ResourceVersion = "uid", "7"
	return s
}

// keeping is a server on which others own a part of an object. An apply leaves that part; a merge patch does not.
func keeping(part, field string, value any) *recorder {
	r := &recorder{}
	r.tamper = func(stored map[string]any) {
		if len(r.requests) > 1 {
			return
		}
		object := stored
		if part != "" {
			object, _ = stored[part].(map[string]any)
		}
		switch list, isList := object[field].([]any); {
		case isList:
			object[field] = append(list, value)
		default:
			object[field] = value
		}
	}
	return r
}

// of returns a part of a body.
func of(body string, path ...string) any {
	var object map[string]any
	if err := json.Unmarshal([]byte(body), &object); err != nil {
		panic(err)
	}
	for _, key := range path[:len(path)-1] {
		object, _ = object[key].(map[string]any)
	}
	return object[path[len(path)-1]]
}

func TestForeignPartsThatAnApplyLeavesAreRemoved(t *testing.T) {
	const intruder = "198.51.100.7/32"
	const nets = `{"spec":{"nets":["10.0.0.1/32"]}}`
	unseen, seen, labelled := set("10.0.0.1/32", intruder), set("10.0.0.1/32", intruder), set("10.0.0.1/32")
	seen.ManagedFields = []metav1.ManagedFieldsEntry{{
		Manager: "mallory", Operation: metav1.ManagedFieldsOperationApply, FieldsType: "FieldsV1",
		FieldsV1: metav1.NewFieldsV1(`{"f:spec":{"f:nets":{"v:\"10.0.0.1/32\"":{},"v:\"198.51.100.7/32\"":{}}}}`),
	}}
	labelled.Labels["cpnp.dev/peer"] = "pods"
	tests := map[string]struct {
		server   *recorder
		live     *v3.GlobalNetworkSet
		requests []string
		patch    string // without uid and version
		version  string
	}{
		"an item of a set, after an apply that left it": {
			keeping("spec", "nets", intruder), unseen, []string{"force", "patch application/merge-patch+json"}, nets, "8",
		},
		"an item of a set that is known to be foreign, at once": {
			&recorder{}, seen, []string{"patch application/merge-patch+json"}, nets, "7",
		},
		"a label that decides which rules select the object": {
			&recorder{}, labelled, []string{"patch application/merge-patch+json"}, `{"metadata":{"labels":{"cpnp.dev/peer":null}}}`, "7",
		},
		"not a field that the operator does not write": {keeping("spec", "more", "x"), set("10.0.0.2/32"), []string{"force"}, "", ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g, r := NewWithT(t), test.server
			r.stored = content(test.live)
			g.Expect(apply.WriteOwned(t.Context(), r, set("10.0.0.1/32"), there(test.live))).To(Succeed())
			var verbs []string
			for _, request := range r.requests {
				verbs = append(verbs, request.verb)
				g.Expect(request.owner).To(Equal("cpnp.dev/network"))
			}
			g.Expect(verbs).To(Equal(test.requests))
			if test.patch != "" {
				want := merged(content(json.RawMessage(test.patch)), map[string]any{"metadata": map[string]any{"uid": "uid", "resourceVersion": test.version}})
				g.Expect(content(json.RawMessage(r.requests[len(r.requests)-1].body))).To(Equal(want), "the patch is refused if the object has changed since")
			}
		})
	}
}

func TestAWriteThatIsNotStoredAsWrittenFails(t *testing.T) {
	g, r := NewWithT(t), &recorder{}
	r.tamper = func(stored map[string]any) { stored["spec"].(map[string]any)["nets"] = []any{"0.0.0.0/0"} } // a webhook
	err := apply.WriteOwned(t.Context(), r, set("10.0.0.1/32"), there(set("0.0.0.0/0")))
	g.Expect(err).To(BeAssignableToTypeOf(&apply.Incomplete{}))
	g.Expect(err).To(MatchError(And(ContainSubstring(`spec.nets is ["0.0.0.0/0"] instead of ["10.0.0.1/32"]`), ContainSubstring("admission webhook"))))
	g.Expect(r.requests).To(HaveLen(2))

	felix := func(port uint16) *v3.FelixConfiguration {
		return &v3.FelixConfiguration{
			TypeMeta:   metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindFelixConfiguration},
			ObjectMeta: metav1.ObjectMeta{Name: "node.cp-1"},
			Spec:       v3.FelixConfigurationSpec{FailsafeInboundHostPorts: &[]v3.ProtoPort{{Protocol: "tcp", Port: port}}},
		}
	}
	shared := &recorder{tamper: func(stored map[string]any) {
		stored["spec"].(map[string]any)["failsafeInboundHostPorts"] = []any{map[string]any{"protocol": "tcp", "port": 2379}}
	}}
	g.Expect(apply.WriteOwned(t.Context(), shared, felix(22), felix(2379))).To(BeAssignableToTypeOf(&apply.Incomplete{}))
	g.Expect(shared.requests).To(HaveLen(1), "a patch of a shared object would outlast the release")

	r = &recorder{errs: []error{nil, apierrors.NewConflict(schema.GroupResource{}, "x", nil)}, tamper: r.tamper}
	err = apply.WriteOwned(t.Context(), r, set("10.0.0.1/32"), there(set("0.0.0.0/0")))
	g.Expect(apierrors.IsConflict(err)).To(BeTrue(), "somebody else wrote first: the next decision follows from the cache")
}

func TestAnotherOrderOfASetIsNoDifference(t *testing.T) {
	g, r := NewWithT(t), &recorder{}
	r.tamper = func(stored map[string]any) {
		stored["spec"].(map[string]any)["nets"] = []any{"10.0.0.2/32", "10.0.0.1/32"}
	}
	g.Expect(apply.WriteOwned(t.Context(), r, set("10.0.0.1/32", "10.0.0.2/32"), there(set("10.0.0.2/32")))).To(Succeed())
	g.Expect(r.requests).To(HaveLen(1))
}

// The API server of Calico v3.32.0 rejects an apply of a policy that does not exist yet.
func TestAPolicyIsCreatedWhereAnApplyCannotCreateIt(t *testing.T) {
	g := NewWithT(t)
	missing := apierrors.NewNotFound(schema.GroupResource{Resource: "globalnetworkpolicies"}, "cpnp.p-self")
	r := &recorder{errs: []error{missing}}
	policy := &v3.GlobalNetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: v3.GroupVersionCurrent, Kind: v3.KindGlobalNetworkPolicy},
		ObjectMeta: metav1.ObjectMeta{Name: "cpnp.p-self"},
		Spec:       v3.GlobalNetworkPolicySpec{Tier: "cpnp", Selector: "x == 'y'", Types: []v3.PolicyType{"Ingress"}, Ingress: []v3.Rule{{Action: v3.Allow}}},
	}
	g.Expect(apply.WriteOwned(t.Context(), r, policy, nil)).To(Succeed())
	g.Expect(r.requests).To(HaveLen(3))
	g.Expect([]string{r.requests[0].verb, r.requests[1].verb, r.requests[2].verb}).To(Equal([]string{"force", "create", "force"}))
	g.Expect(of(r.requests[1].body, "spec")).To(Equal(of(r.requests[0].body, "spec")), "the whole spec: a policy without rules would deny")
	g.Expect(of(r.requests[2].body, "spec")).To(Equal(of(r.requests[0].body, "spec")))
	g.Expect(of(r.requests[2].body, "metadata", "resourceVersion")).To(Equal("9"), "the version in the answer")

	r = &recorder{errs: []error{missing, missing}}
	g.Expect(apierrors.IsNotFound(apply.WriteOwned(t.Context(), r, policy, nil))).To(BeTrue(), "the kind no longer exists")

	r = &recorder{errs: []error{missing}}
	live := policy.DeepCopy()
	live.UID, live.ResourceVersion = "uid", "7"
	g.Expect(apierrors.IsNotFound(apply.WriteOwned(t.Context(), r, policy, live))).To(BeTrue(), "the object was deleted meanwhile, which the cache has to show first")
	g.Expect(r.requests).To(HaveLen(1))

	r = &recorder{errs: []error{missing}}
	network := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "gone", Name: "cpnp.p.c"}}
	g.Expect(apierrors.IsNotFound(apply.WriteOwned(t.Context(), r, network, nil))).To(BeTrue(), "the namespace does not exist")
	g.Expect(r.requests).To(HaveLen(1))
}

func TestTheAnswerToAnApplyOfAServiceIsChecked(t *testing.T) {
	const field = "externalTrafficPolicy"
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "uid", ResourceVersion: "7"},
		Spec:       corev1.ServiceSpec{ExternalTrafficPolicy: "Cluster"},
	}
	set := drift.Outcome{Set: map[string]*string{field: ptr.To("Local")}, Record: state.Record{field: record("p", "Local", ptr.To("Cluster"))}}
	g, r := NewWithT(t), &recorder{}
	r.tamper = func(stored map[string]any) { stored["spec"] = map[string]any{field: "Cluster"} }
	g.Expect(apply.WriteService(t.Context(), r, service, set)).To(MatchError(ContainSubstring("externalTrafficPolicy is Cluster instead of Local")))

	r = &recorder{tamper: func(stored map[string]any) { stored["metadata"].(map[string]any)["annotations"] = map[string]any{} }}
	g.Expect(apply.WriteService(t.Context(), r, service, set)).To(MatchError(ContainSubstring("the annotation cpnp.dev/record is not as written")))

	// Somebody has applied a copy with the record, so that the record stays after a release.
	r = keeping("metadata", "annotations", map[string]any{"cpnp.dev/record": "{}"})
	released := drift.Outcome{Set: map[string]*string{field: ptr.To("Cluster")}, Record: state.Record{}}
	g.Expect(apply.WriteService(t.Context(), r, service, released)).To(Succeed())
	g.Expect(r.requests).To(HaveLen(2))
	g.Expect(r.requests[1].body).To(MatchJSON(`{"metadata":{"uid":"uid","resourceVersion":"8","annotations":{"cpnp.dev/record":null}}}`))
}

func enactment() *v1alpha1.ControlPlaneNodeEnactment {
	return &v1alpha1.ControlPlaneNodeEnactment{
		ObjectMeta: metav1.ObjectMeta{Name: "p.cp-1", UID: "uid", ResourceVersion: "7"},
		Spec: v1alpha1.ControlPlaneNodeEnactmentSpec{
			Policy: "p", Node: "cp-1", Targets: []v1alpha1.ProbeTarget{{Address: "10.0.0.1", Port: 2379, Protocol: "TCP"}},
		},
		Status: v1alpha1.ControlPlaneNodeEnactmentStatus{
			Conditions: []metav1.Condition{{Type: "Enforced", Status: "True", LastTransitionTime: metav1.NewTime(time.Unix(1, 5))}},
		},
	}
}

// Foreign additions to a record are removed. Otherwise the record would never
// equal the decided one, and nothing is written to a node whose record differs.
func TestForeignPartsOfARecordAreRemoved(t *testing.T) {
	const target, condition = `{"address":"192.0.2.1","port":1,"protocol":"TCP"}`, `{"type":"Mine","status":"True","lastTransitionTime":null,"reason":"","message":""}`
	g := NewWithT(t)
	live := enactment()
	live.Spec.Targets = nil
	r := keeping("spec", "targets", content(json.RawMessage(target)))
	g.Expect(apply.WriteEnactment(t.Context(), r, enactment(), live)).To(Succeed())
	g.Expect(r.requests).To(HaveLen(3))
	g.Expect(r.requests[1].verb).To(Equal("patch application/merge-patch+json"))
	g.Expect(of(r.requests[1].body, "spec", "targets")).To(HaveLen(1))
	g.Expect(of(r.requests[2].body, "metadata", "resourceVersion")).To(Equal("9"), "the version after the patch")

	r = keeping("status", "conditions", content(json.RawMessage(condition)))
	g.Expect(apply.WriteEnactment(t.Context(), r, enactment(), enactment())).To(Succeed())
	g.Expect(r.requests).To(HaveLen(2))
	g.Expect(r.requests[1].verb).To(Equal("patch status application/merge-patch+json"))
	g.Expect(of(r.requests[1].body, "status", "conditions")).To(HaveLen(1))

	r = keeping("status", "observers", []any{map[string]any{"name": "cp-2", "probeRound": 1}})
	g.Expect(apply.WriteEnactment(t.Context(), r, enactment(), enactment())).To(Succeed())
	g.Expect(r.requests).To(HaveLen(1), "the observers' items are not the operator's")

	r = &recorder{tamper: func(stored map[string]any) { stored["status"] = map[string]any{"ruleset": "x"} }}
	g.Expect(apply.WriteEnactment(t.Context(), r, enactment(), enactment())).To(BeAssignableToTypeOf(&apply.Incomplete{}))
}

func TestAStatusIsWrittenAsAWhole(t *testing.T) {
	g := NewWithT(t)
	policy := &v1alpha1.ControlPlaneNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p", UID: "uid", ResourceVersion: "7"}}
	status := &v1alpha1.ControlPlaneNetworkPolicyStatus{
		ObservedGeneration: 2,
		Conditions:         []metav1.Condition{{Type: "Ready", Status: "True", LastTransitionTime: metav1.NewTime(time.Unix(1, 5))}},
	}
	r := &recorder{}
	g.Expect(apply.WriteStatus(t.Context(), r, policy, status)).To(Succeed())
	g.Expect(r.requests).To(HaveLen(1))
	g.Expect(of(r.requests[0].body, "metadata", "resourceVersion")).To(Equal("7"), "a status of another generation is not overwritten")

	r = keeping("status", "conditions", map[string]any{"type": "Mine", "status": "True"})
	g.Expect(apply.WriteStatus(t.Context(), r, policy, status)).To(Succeed())
	g.Expect(r.requests).To(HaveLen(2))
	g.Expect(of(r.requests[1].body, "status", "conditions")).To(HaveLen(1))

	r = &recorder{err: errors.New("forbidden")}
	g.Expect(apply.WriteStatus(t.Context(), r, policy, status)).To(MatchError("forbidden"))
}
