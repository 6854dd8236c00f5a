// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

func full(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, ResourceVersion: "1", Labels: map[string]string{"app": "x"}, Finalizers: []string{"example.com/f"},
		Annotations: map[string]string{
			"full": "x", v1alpha1.AnnotationDesiredHash: "hash",
			corev1.LastAppliedConfigAnnotation: `{"spec":{"nets":["10.0.0.0/8"]}}`,
		},
		OwnerReferences: []metav1.OwnerReference{{Name: "x"}},
		ManagedFields:   []metav1.ManagedFieldsEntry{{Manager: "kubectl", FieldsV1: metav1.NewFieldsV1("{}")}},
	}
}

// Of a foreign object, only what is judged is kept: the spec, the labels, and the
// fact of a client-side apply. An object that may be the operator's is kept whole.
func TestWhichPartsOfAnObjectAreKept(t *testing.T) {
	g := NewWithT(t)
	foreign := &v3.GlobalNetworkSet{ObjectMeta: full("theirs"), Spec: v3.GlobalNetworkSetSpec{Nets: []string{"10.0.0.0/8"}}}
	before := foreign.Annotations
	reduce(foreign)
	g.Expect(foreign).To(Equal(&v3.GlobalNetworkSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: "theirs", ResourceVersion: "1", Labels: map[string]string{"app": "x"},
			Annotations: map[string]string{v1alpha1.AnnotationDesiredHash: "hash", corev1.LastAppliedConfigAnnotation: "{}"},
		},
		Spec: v3.GlobalNetworkSetSpec{Nets: []string{"10.0.0.0/8"}},
	}))
	g.Expect(before).To(Equal(full("").Annotations), "a map that others read is not changed")

	labelled, written := full("theirs"), full("theirs")
	labelled.Labels[v1alpha1.LabelPolicy] = "p"
	written.ManagedFields[0].Manager = v1alpha1.FieldManagerNetwork
	for name, object := range map[string]client.Object{
		"name":                &v3.HostEndpoint{ObjectMeta: full("cpnp-node")},
		"label":               &v3.GlobalNetworkPolicy{ObjectMeta: labelled},
		"manager":             &v3.GlobalNetworkPolicy{ObjectMeta: written},
		"Felix configuration": &v3.FelixConfiguration{ObjectMeta: full("default")}, // managers show fields that the types do not have
	} {
		reduce(object)
		g.Expect(object.GetManagedFields()).To(HaveLen(1), name)
		g.Expect(object.GetAnnotations()).To(HaveLen(3), name)
	}
}

// The size of an object is its size in memory, which can be many times that of the text.
func TestSizeOf(t *testing.T) {
	g := NewWithT(t)
	empty := sizeOf(&v3.GlobalNetworkPolicy{})
	g.Expect(empty).To(BeNumerically(">", 500))
	grows := func(object client.Object, by int) { g.Expect(sizeOf(object) - empty).To(BeNumerically("~", by, by/10)) }
	grows(&v3.GlobalNetworkPolicy{Spec: v3.GlobalNetworkPolicySpec{Selector: strings.Repeat("x", 1000)}}, 1000)
	grows(&v3.GlobalNetworkPolicy{Spec: v3.GlobalNetworkPolicySpec{Ingress: make([]v3.Rule, 100)}}, 100*int(ruleBytes))
	nets := v3.Rule{Source: v3.EntityRule{Nets: []string{strings.Repeat("x", 984)}}}
	grows(&v3.GlobalNetworkPolicy{Spec: v3.GlobalNetworkPolicySpec{Egress: []v3.Rule{nets}}}, 1000+int(ruleBytes))
	grows(&v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"key": strings.Repeat("x", 1000)}}}, 1051)
	fields := []metav1.ManagedFieldsEntry{{FieldsV1: metav1.NewFieldsV1(`"` + strings.Repeat("x", 10_000) + `"`)}}
	grows(&v3.GlobalNetworkPolicy{ObjectMeta: metav1.ObjectMeta{ManagedFields: fields}}, 10_200)
}

// An object that would need many times its text's memory is not decoded at all.
func TestTooLargeObjectIsNotDecoded(t *testing.T) {
	g := NewWithT(t)
	scheme := runtime.NewScheme()
	g.Expect(v3.AddToScheme(scheme)).To(Succeed())
	serializers := boundedSerializers{serializer.NewCodecFactory(scheme).WithoutConversion()}
	info, _ := runtime.SerializerInfoForMediaType(serializers.SupportedMediaTypes(), runtime.ContentTypeJSON)
	decoder := serializers.DecoderToVersion(info.Serializer, v3.SchemeGroupVersion)
	gvk := v3.SchemeGroupVersion.WithKind(v3.KindGlobalNetworkPolicy)
	policy := func(rules int) []byte {
		p := &v3.GlobalNetworkPolicy{ObjectMeta: full("rules")}
		p.Spec.Ingress = make([]v3.Rule, rules)
		for i := range p.Spec.Ingress {
			p.Spec.Ingress[i].Action = v3.Log
		}
		text, err := json.Marshal(p)
		g.Expect(err).NotTo(HaveOccurred())
		return []byte(strings.ReplaceAll(string(text), `,"source":{},"destination":{}`, ""))
	}
	read := func(text []byte) *v3.GlobalNetworkPolicy {
		object, _, err := decoder.Decode(text, &gvk, nil)
		g.Expect(err).NotTo(HaveOccurred())
		return object.(*v3.GlobalNetworkPolicy)
	}
	possible := read(policy(1024))
	g.Expect(possible.Spec.Ingress).To(HaveLen(1024), "Calico accepts so many rules")
	g.Expect(isTooLarge(possible)).To(BeFalse())

	text := policy(20_000)
	g.Expect(len(text)).To(BeNumerically("<", 400<<10))
	huge := read(text)
	g.Expect(isTooLarge(huge)).To(BeTrue())
	g.Expect(huge.Spec.Ingress).To(BeEmpty())
	g.Expect(huge.Name+huge.ResourceVersion).To(Equal("rules1"), "the object keeps its name")
	g.Expect(sizeOf(huge)).To(BeNumerically(">", shareOf(v3.KindGlobalNetworkPolicy, 1<<40)))
	reduce(huge)
	g.Expect(isTooLarge(huge)).To(BeTrue())
	g.Expect(isOwn(huge)).To(BeFalse())
}

// The estimate before decoding is not below the size afterwards.
func TestEstimateOfASize(t *testing.T) {
	g := NewWithT(t)
	for i := range 50 {
		p := &v3.GlobalNetworkPolicy{}
		for j := range i {
			rule := v3.Rule{Action: v3.Allow, Metadata: &v3.RuleMetadata{Annotations: map[string]string{"a": "b"}}}
			rule.Source.Nets = make([]string, j)
			rule.Destination.Services = &v3.ServiceMatch{Name: fmt.Sprint(j)}
			p.Spec.Ingress = append(p.Spec.Ingress[:j:j], rule)
		}
		text, err := json.Marshal(p)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(decodedSize(text)+sizeOf(&v3.GlobalNetworkPolicy{})).To(BeNumerically(">", sizeOf(p)*2/3), "%d rules", i)
	}
	g.Expect(decodedSize([]byte(`{"a":"{,\"{{"}`))).To(BeNumerically("<", 100), "braces in texts do not count")
}
