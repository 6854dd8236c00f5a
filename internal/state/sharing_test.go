// SPDX-License-Identifier: Apache-2.0

package state_test

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// Objects in the cache share equal parts, and never a part that differs.
func TestEqualPartsOfCachedObjectsShareMemory(t *testing.T) {
	g := NewWithT(t)
	service := func(name, label, manager string) *corev1.Service {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{strings.Clone("app"): strings.Clone(label)},
			ManagedFields: []metav1.ManagedFieldsEntry{manages(manager, `{"f:spec":{"f:internalTrafficPolicy":{}}}`)},
		}}
		s.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
		return through(t, state.TransformService, s)
	}
	a, b, other := service("a", "web", "m"), service("b", "web", "m"), service("c", "db", "n")
	g.Expect(a.Spec.InternalTrafficPolicy).To(BeIdenticalTo(b.Spec.InternalTrafficPolicy))
	g.Expect(&a.ManagedFields[0]).To(BeIdenticalTo(&b.ManagedFields[0]))
	a.Labels["x"] = "y" // only a test changes a cached object
	g.Expect(b.Labels).To(HaveKey("x"), "both objects share one map")
	delete(a.Labels, "x")
	g.Expect(other.Labels).To(Equal(map[string]string{"app": "db"}))
	g.Expect(other.ManagedFields).To(HaveExactElements(HaveField("Manager", "n")))

	node := func(name string, ready corev1.ConditionStatus, taints ...corev1.Taint) *corev1.Node {
		return through(t, state.TransformNode, &corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{strings.Clone("os"): strings.Clone("linux"), "host": name}},
			Spec:       corev1.NodeSpec{Taints: taints},
			Status:     corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}},
		})
	}
	taint := corev1.Taint{Key: "k", Effect: "NoSchedule"}
	timed := taint
	timed.TimeAdded = ptr.To(metav1.Now())
	one, two, three := node("1", "True", taint), node("2", "True", taint), node("3", "False", timed)
	g.Expect(unsafe.StringData(one.Labels["os"])).To(BeIdenticalTo(unsafe.StringData(two.Labels["os"])))
	g.Expect(&one.Spec.Taints[0]).To(BeIdenticalTo(&two.Spec.Taints[0]))
	g.Expect(three.Spec.Taints).To(HaveExactElements(timed))
	g.Expect([]bool{state.IsNodeReady(one), state.IsNodeReady(two), state.IsNodeReady(three)}).To(Equal([]bool{true, true, false}))

	slice := func(name string, port *int32) *state.EndpointSlice {
		return cachedSlice(t, &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Name: name}, Ports: []discoveryv1.EndpointPort{{Port: port}},
		})
	}
	g.Expect(slice("a", ptr.To[int32](0)).Ports[0].Port).To(HaveValue(BeEquivalentTo(0)))
	g.Expect(slice("b", nil).Ports[0].Port).To(BeNil(), "a missing port differs from port 0")
	g.Expect(slice("c", ptr.To[int32](1<<24)).Ports[0].Port).To(HaveValue(BeEquivalentTo(1 << 24)))
}

// Others choose most parts. So the memory of parts is bounded, and starts anew when full.
func TestManyDifferentPartsKeepTheirContent(t *testing.T) {
	for i := range 20000 {
		labels := map[string]string{"app": fmt.Sprint(i)}
		slim := through(t, state.TransformService, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Labels: labels}})
		if slim.Labels["app"] != fmt.Sprint(i) {
			t.Fatalf("Service %d has the labels %v", i, slim.Labels)
		}
	}
}
