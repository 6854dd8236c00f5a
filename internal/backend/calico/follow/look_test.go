// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"errors"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// A look shows the server's present objects, even those that a watch has not reported yet.
func TestALookDoesNotDependOnWatches(t *testing.T) {
	bubble(t, nil, func(w *world) {
		copied := map[string]string{corev1.LastAppliedConfigAnnotation: `{"spec":{"node":"x"}}`}
		endpoint := &v3.HostEndpoint{ObjectMeta: meta("new", "11")}
		endpoint.Annotations = copied
		w.of("hostendpoints").set(func(r *resource) { r.objects = []runtime.Object{endpoint} })
		w.of("tiers").set(func(r *resource) { r.objects = nil })
		w.Expect(w.Read().Endpoints).To(BeEmpty())
		there, err := w.ReadNow(t.Context())
		w.Expect(err).NotTo(HaveOccurred())
		w.Expect(there.Endpoints).To(ConsistOf(HaveField("Name", "new")))
		w.Expect(there.Endpoints[0].Annotations[corev1.LastAppliedConfigAnnotation]).NotTo(ContainSubstring("node"), "reduced as in memory")
		w.Expect(there.Tiers).To(BeEmpty())
		w.Expect(there.Mode).To(Equal(w.Read().Mode))

		w.of("felixconfigurations").set(func(r *resource) { r.fails = errors.New("no answer") })
		_, err = w.ReadNow(t.Context())
		w.Expect(err).To(MatchError(And(ContainSubstring("FelixConfiguration"), ContainSubstring("no answer"))))
	})
}

// An API that cannot be relied on is not read.
func TestALookSkipsKindsThatAreNotServed(t *testing.T) {
	bubble(t, func(s *server) { s.of("apiservices").objects = nil }, func(w *world) {
		there, err := w.ReadNow(t.Context())
		w.Expect(err).NotTo(HaveOccurred())
		w.Expect(there).To(Equal(w.Read()))
		w.Expect(w.of("hostendpoints").lists).To(BeZero())
	})
}
