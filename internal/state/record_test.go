// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

func annotated(text string) map[string]string {
	return map[string]string{v1alpha1.AnnotationRecord: text}
}

func TestRecordOfAServiceIsReadAsItWasWritten(t *testing.T) {
	g := NewWithT(t)
	record := state.Record{
		"trafficDistribution":   {Policy: "p", Applied: "PreferClose", Original: nil},
		"internalTrafficPolicy": {Policy: "q", Applied: "Local", Original: ptr.To("Cluster")},
	}
	const text = `{"internalTrafficPolicy":{"policy":"q","applied":"Local","original":"Cluster"},` +
		`"trafficDistribution":{"policy":"p","applied":"PreferClose","original":null}}`
	g.Expect(record.String()).To(Equal(text), "the text equals that of records in clusters, and equal records have equal texts")
	g.Expect(state.ServiceRecord(annotated(text))).To(Equal(record))
}

// Anyone who may write a Service's annotations may write its fields as well, but only values that the fields admit.
func TestARecordThatTheOperatorCannotHaveWrittenIsIgnored(t *testing.T) {
	const good = `"internalTrafficPolicy":{"policy":"q","applied":"Local","original":"Cluster"}`
	for name, test := range map[string]struct{ text, want string }{
		"no JSON":                              {"{broken", "no JSON"},
		"a list":                               {"[]", "no JSON"},
		"a value that no record has":           {`{` + good + `,"b":5}`, "no JSON"},
		"more than a record":                   {`{` + good + `} {}`, "no JSON"},
		"another field":                        {`{` + good + `,"type":{"policy":"q","applied":"NodePort"}}`, "no traffic policy"},
		"an invalid value":                     {`{"internalTrafficPolicy":{"policy":"q","applied":"Everywhere"}}`, "cannot have the value"},
		"an invalid original":                  {`{"externalTrafficPolicy":{"policy":"q","applied":"Local","original":"bogus"}}`, "cannot have the value"},
		"an empty original":                    {`{"externalTrafficPolicy":{"policy":"q","applied":"Local","original":""}}`, "cannot have the value"},
		"the value of another field":           {`{"trafficDistribution":{"policy":"q","applied":"Local"}}`, "cannot have the value"},
		"nobody's":                             {`{"externalTrafficPolicy":{"policy":"","applied":"Local"}}`, "not set for a policy"},
		"a name that no policy can have":       {`{"externalTrafficPolicy":{"policy":"` + strings.Repeat("x", 64) + `","applied":"Local"}}`, "not set for a policy"},
		"more than a record can have":          {`{` + good + `}` + strings.Repeat(" ", 4096), "more than 4096"},
		"many invented policies":               {`{"x` + strings.Repeat("y", 4000) + `":{"policy":"q"}}`, "no traffic policy"},
		"a field name with control characters": {`{"\u202e":{"policy":"q"}}`, "no traffic policy"},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			record, err := state.ServiceRecord(annotated(test.text))
			g.Expect(err).To(MatchError(ContainSubstring(test.want)))
			g.Expect(record).To(BeEmpty(), "nothing is restored from an invalid record")
			record["a"] = state.RecordEntry{Policy: "p"}
			g.Expect(record.MentionsPolicy("p")).To(BeTrue(), "the returned record is empty, but not nil")
		})
	}
	for name, annotations := range map[string]map[string]string{
		"no annotations": nil, "no such annotation": {"other": "x"}, "an empty one": annotated(""), "null": annotated("null"),
	} {
		t.Run(name, func(t *testing.T) { NewWithT(t).Expect(state.ServiceRecord(annotations)).To(BeEmpty()) })
	}
}

func TestRecordOfAnOlderOrNewerVersionIsRead(t *testing.T) {
	record, err := state.ServiceRecord(annotated(`{"externalTrafficPolicy":{"policy":"p","applied":"Local","since":"2026"}}`))
	g := NewWithT(t)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(record).To(Equal(state.Record{"externalTrafficPolicy": {Policy: "p", Applied: "Local"}}))
}

func TestRecordMentionsThePoliciesInIt(t *testing.T) {
	g := NewWithT(t)
	record := state.Record{"a": {Policy: "p"}, "b": {Policy: "q"}}
	g.Expect(record.MentionsPolicy("p")).To(BeTrue())
	g.Expect(record.MentionsPolicy("q")).To(BeTrue())
	g.Expect(record.MentionsPolicy("a")).To(BeFalse())
	g.Expect(state.Record(nil).MentionsPolicy("p")).To(BeFalse())
}

func TestAnnotationsThatLeaveNoRoomForARecord(t *testing.T) {
	const limit = 256 << 10 // k8s.io/apimachinery/pkg/api/validation
	full := map[string]string{"big": strings.Repeat("x", limit-4<<10)}
	g := NewWithT(t)
	g.Expect(state.HasNoRoomForRecord(full)).To(BeTrue())
	service := through(t, state.TransformService, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Annotations: full}})
	g.Expect(state.HasNoRoomForRecord(service.Annotations)).To(BeTrue(), "in the cache")
	g.Expect(len(service.Annotations)).To(Equal(1))
	g.Expect(service.Annotations).NotTo(HaveKey("big"))
	full[v1alpha1.AnnotationRecord] = "{}"
	g.Expect(state.HasNoRoomForRecord(full)).To(BeFalse(), "a Service with a record has room for it")
	g.Expect(state.HasNoRoomForRecord(map[string]string{"small": "x"})).To(BeFalse())
}

func TestRecordOfANodeIsReadAsItIsStored(t *testing.T) {
	g := NewWithT(t)
	record := state.Record{
		"node-role.kubernetes.io/control-plane:NoSchedule": {Policy: "p"},
		"a:NoExecute": {Policy: "q", Applied: "x", Original: ptr.To("")},
	}
	stored := &v1alpha1.ControlPlaneNodeRecord{Spec: v1alpha1.ControlPlaneNodeRecordSpec{NodeUID: "uid", Taints: record.RecordedTaints()}}
	g.Expect(stored.Spec.Taints).To(HaveExactElements(HaveField("Key", "a"), HaveField("Effect", corev1.TaintEffectNoSchedule)))
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp-1", UID: "uid"}}
	is := state.NodeRecords{"cp-1": stored}.OfNode(node)
	g.Expect(cmp.Diff(record, is.Record)).To(BeEmpty())
	g.Expect(is.Stored).To(BeIdenticalTo(stored))

	node.UID = "another"
	is = state.NodeRecords{"cp-1": stored}.OfNode(node)
	g.Expect(is.Record).To(BeEmpty(), "the operator changed nothing on the new Node")
	g.Expect(is.Stored).To(BeIdenticalTo(stored), "the stored record of an earlier Node of this name is returned")
	g.Expect(state.NodeRecords{}.OfNode(node).Stored).To(BeNil())
}
