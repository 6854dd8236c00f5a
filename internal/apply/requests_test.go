// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/drift"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// recorder records the requests, and answers with the sent object unless told
// otherwise. The system tests cover how an API server really answers.
type recorder struct {
	client.Client
	requests []request
	err      error
	// errs are the errors of the first requests, in order; err is that of the others.
	errs []error
	// tamper changes an object on its way, each time it is written.
	tamper func(stored map[string]any)
	stored map[string]any
}

type request struct{ verb, owner, body string }

func (r *recorder) answers() error {
	if len(r.errs) == 0 {
		return r.err
	}
	err := r.errs[0]
	r.errs = r.errs[1:]
	return err
}

// answer stores the sent object, and returns it in the given one.
func (r *recorder) answer(sent map[string]any, object any) error {
	if err := r.answers(); err != nil {
		return err
	}
	if r.tamper != nil {
		r.tamper(sent)
	}
	metadata, _ := sent["metadata"].(map[string]any)
	metadata["resourceVersion"] = fmt.Sprint(7 + len(r.requests))
	r.stored = sent
	body, err := json.Marshal(sent)
	if err != nil {
		return err
	}
	if applied, is := object.(interface{ UnmarshalJSON([]byte) error }); is {
		return applied.UnmarshalJSON(body)
	}
	return json.Unmarshal(body, object)
}

// merged returns an object with a merge patch.
func merged(object, patch map[string]any) map[string]any {
	for key, value := range patch {
		inner, isObject := value.(map[string]any)
		switch before, _ := object[key].(map[string]any); {
		case value == nil:
			delete(object, key)
		case isObject && before != nil:
			object[key] = merged(before, inner)
		case isObject:
			object[key] = merged(map[string]any{}, inner)
		default:
			object[key] = value
		}
	}
	return object
}

func content(of any) map[string]any {
	body, err := json.Marshal(of)
	if err != nil {
		panic(err)
	}
	var out map[string]any
	if err := json.Unmarshal(body, &out); err != nil {
		panic(err)
	}
	return out
}

func (r *recorder) patched(kind string, object client.Object, patch client.Patch, owner string) error {
	body, err := patch.Data(object)
	if err != nil {
		return err
	}
	r.requests = append(r.requests, request{kind + " " + string(patch.Type()), owner, string(body)})
	stored := r.stored
	if stored == nil {
		stored = content(object)
	}
	return r.answer(merged(stored, content(json.RawMessage(body))), object)
}

func (r *recorder) applied(suffix string, object runtime.ApplyConfiguration, o client.ApplyOptions) error {
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	verb := "apply"
	if ptr.Deref(o.Force, false) {
		verb = "force"
	}
	r.requests = append(r.requests, request{verb + suffix, o.FieldManager, string(body)})
	return r.answer(content(json.RawMessage(body)), object)
}

func (r *recorder) Create(_ context.Context, object client.Object, options ...client.CreateOption) error {
	var o client.CreateOptions
	o.ApplyOptions(options)
	body, err := json.Marshal(object)
	if err != nil {
		return err
	}
	r.requests = append(r.requests, request{"create", o.FieldManager, string(body)})
	return r.answer(content(json.RawMessage(body)), object)
}

func (r *recorder) Patch(_ context.Context, object client.Object, patch client.Patch, options ...client.PatchOption) error {
	var o client.PatchOptions
	o.ApplyOptions(options)
	return r.patched("patch", object, patch, o.FieldManager)
}

func (r *recorder) Apply(_ context.Context, object runtime.ApplyConfiguration, options ...client.ApplyOption) error {
	var o client.ApplyOptions
	o.ApplyOptions(options)
	return r.applied("", object, o)
}

func (r *recorder) Status() client.SubResourceWriter { return statusRecorder{r: r} }

type statusRecorder struct {
	client.SubResourceWriter
	r *recorder
}

func (s statusRecorder) Patch(_ context.Context, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
	var o client.SubResourcePatchOptions
	o.ApplyOptions(options)
	return s.r.patched("patch status", object, patch, o.FieldManager)
}

func (s statusRecorder) Apply(_ context.Context, object runtime.ApplyConfiguration, options ...client.SubResourceApplyOption) error {
	var o client.SubResourceApplyOptions
	o.ApplyOpts(options)
	return s.r.applied(" status", object, o.ApplyOptions)
}

func (r *recorder) Delete(_ context.Context, object client.Object, options ...client.DeleteOption) error {
	var o client.DeleteOptions
	o.ApplyOptions(options)
	body, err := json.Marshal(map[string]any{"name": object.GetName(), "namespace": object.GetNamespace(), "preconditions": o.Preconditions})
	if err != nil {
		return err
	}
	r.requests = append(r.requests, request{"delete", "", string(body)})
	return r.err
}

func record(policy, applied string, original *string) state.RecordEntry {
	return state.RecordEntry{Policy: policy, Applied: applied, Original: original}
}

func TestServiceIsAppliedWithManagedFieldsOnly(t *testing.T) {
	type fields = map[string]*string
	const external, internal = "externalTrafficPolicy", "internalTrafficPolicy"
	held := state.Record{external: record("p", "Local", ptr.To("Cluster")), internal: record("p", "Local", ptr.To("Cluster"))}
	tests := map[string]struct {
		outcome drift.Outcome
		spec    string // of the apply; empty for none
		version string
		first   string // the spec of the patch before the apply; empty for none
	}{
		"new values, and former values that are unchanged": {
			drift.Outcome{Set: fields{external: ptr.To("Local")}, Record: held},
			`{"externalTrafficPolicy":"Local","internalTrafficPolicy":"Local"}`, "7", "",
		},
		"not a field that somebody changed since and that is left alone": {
			drift.Outcome{Record: held}, `{"internalTrafficPolicy":"Local"}`, "7", "",
		},
		"not a restored field whose original is the default": {
			drift.Outcome{Set: fields{internal: ptr.To("Cluster")}, Record: state.Record{}}, "", "7", "",
		},
		"not a restored field without an original": {
			drift.Outcome{Set: fields{"trafficDistribution": nil}, Record: state.Record{}}, "", "7", "",
		},
		"an original other than the default is written first, and managed fields stay": {
			drift.Outcome{
				Set: fields{"trafficDistribution": ptr.To("PreferClose"), external: ptr.To("Local")}, Record: state.Record{external: held[external]},
			},
			`{"externalTrafficPolicy":"Local"}`, "8", `{"trafficDistribution":"PreferClose"}`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g, r := NewWithT(t), &recorder{}
			service := &corev1.Service{
				ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "uid", ResourceVersion: "7"},
				Spec: corev1.ServiceSpec{
					ExternalTrafficPolicy: "Cluster", InternalTrafficPolicy: ptr.To(corev1.ServiceInternalTrafficPolicyLocal),
				},
			}
			g.Expect(apply.WriteService(t.Context(), r, service, test.outcome)).To(Succeed())
			if test.first != "" {
				g.Expect(r.requests).To(HaveLen(2))
				g.Expect(r.requests[0].owner).To(Equal("cpnp.dev/services"))
				g.Expect(r.requests[0].body).To(MatchJSON(`{"metadata":{"uid":"uid","resourceVersion":"7"},"spec":` + test.first + `}`))
			} else {
				g.Expect(r.requests).To(HaveLen(1))
			}
			applied := r.requests[len(r.requests)-1]
			g.Expect(applied.verb).To(Equal("force"))
			g.Expect(applied.owner).To(Equal("cpnp.dev/services"))
			want := map[string]any{
				"apiVersion": "v1", "kind": "Service",
				"metadata": map[string]any{"namespace": "shop", "name": "web", "uid": "uid", "resourceVersion": test.version},
			}
			if len(test.outcome.Record) > 0 {
				want["metadata"].(map[string]any)["annotations"] = map[string]any{"cpnp.dev/record": test.outcome.Record.String()}
			}
			if test.spec != "" {
				want["spec"] = json.RawMessage(test.spec)
			}
			text, err := json.Marshal(want)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(applied.body).To(MatchJSON(text))
		})
	}
}

func TestServiceIsNotAppliedWhenItsOriginalCouldNotBeWritten(t *testing.T) {
	g, r := NewWithT(t), &recorder{err: errors.New("forbidden")}
	outcome := drift.Outcome{Set: map[string]*string{"trafficDistribution": ptr.To("PreferClose")}, Record: state.Record{}}
	g.Expect(apply.WriteService(t.Context(), r, &corev1.Service{}, outcome)).To(MatchError("forbidden"))
	g.Expect(r.requests).To(HaveLen(1))
}

func TestNetworkPolicyIsAppliedOnlyToTheJudgedVersion(t *testing.T) {
	desired := &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "cpnp.p.c"},
		Spec:       networkingv1.NetworkPolicySpec{Ingress: []networkingv1.NetworkPolicyIngressRule{{}}, PolicyTypes: []networkingv1.PolicyType{"Ingress"}},
	}
	live := func(spec networkingv1.NetworkPolicySpec) client.Object {
		return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{UID: "uid", ResourceVersion: "7"}, Spec: spec}
	}
	egress := networkingv1.NetworkPolicySpec{Egress: []networkingv1.NetworkPolicyEgressRule{{}}}
	const spec = `"ingress":[{}],"podSelector":{},"policyTypes":["Ingress"]`
	tests := map[string]struct {
		live           client.Object
		metadata, spec string
	}{
		"a missing NetworkPolicy is created":                           {nil, ``, spec},
		"an existing NetworkPolicy is changed if it is still the same": {live(networkingv1.NetworkPolicySpec{}), `,"uid":"uid","resourceVersion":"7"`, spec},
		"foreign rules are claimed as an empty list":                   {live(egress), `,"uid":"uid","resourceVersion":"7"`, spec + `,"egress":[]`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			g, r := NewWithT(t), &recorder{}
			g.Expect(apply.WriteOwned(t.Context(), r, desired, test.live)).To(Succeed())
			g.Expect(r.requests).To(HaveLen(1))
			g.Expect(r.requests[0].verb).To(Equal("force"))
			g.Expect(r.requests[0].owner).To(Equal("cpnp.dev/network"))
			g.Expect(r.requests[0].body).To(MatchJSON(`{"apiVersion":"networking.k8s.io/v1","kind":"NetworkPolicy",` +
				`"metadata":{"namespace":"kube-system","name":"cpnp.p.c"` + test.metadata + `},"spec":{` + test.spec + `}}`))
		})
	}
	g, r := NewWithT(t), &recorder{}
	onlyEgress := desired.DeepCopy()
	onlyEgress.Spec.Ingress, onlyEgress.Spec.Egress = nil, egress.Egress
	g.Expect(apply.WriteOwned(t.Context(), r, onlyEgress, live(desired.Spec))).To(Succeed())
	g.Expect(r.requests[0].body).To(ContainSubstring(`"ingress":[]`), "in the other direction too")
}

func TestOnlyTheJudgedNetworkPolicyIsDeleted(t *testing.T) {
	g, r := NewWithT(t), &recorder{}
	live := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "cpnp.p.c", UID: "uid", ResourceVersion: "7"}}
	g.Expect(apply.DeleteOwned(t.Context(), r, live)).To(Succeed())
	g.Expect(r.requests[0].body).To(MatchJSON(
		`{"namespace":"kube-system","name":"cpnp.p.c","preconditions":{"uid":"uid","resourceVersion":"7"}}`))
	r.err = apierrors.NewNotFound(schema.GroupResource{}, "x")
	g.Expect(apply.DeleteOwned(t.Context(), r, live)).To(Succeed(), "the NetworkPolicy is deleted already")
	r.err = errors.New("forbidden")
	g.Expect(apply.DeleteOwned(t.Context(), r, live)).To(MatchError("forbidden"))
}
