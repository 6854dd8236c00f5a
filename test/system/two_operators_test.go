// SPDX-License-Identifier: Apache-2.0

package system

import (
	"fmt"
	"net/http"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// Should two operators ever work at once, they want the same, and so come to
// rest: neither undoes what the other does, nor tells another story of it.
func TestTwoOperatorsComeToRest(t *testing.T) {
	const (
		count  = 5 // nodes, and as many Services
		rounds = 4 // of drift
	)
	s := begin(t)
	nodes := s.nodes(count)
	for i := range count {
		s.service(fmt.Sprintf("web-%d", i), corev1.ServiceTypeClusterIP)
	}
	s.create(s.policy())
	left, right := newWeather(t, operatorConfig), newWeather(t, operatorConfig)
	s.operatorAs(left.config())
	s.operatorAs(right.config())
	s.ready(s.name)
	s.quiet()
	posture, begun := s.posture(), s.mark()

	for round := range rounds {
		somebody := fmt.Sprintf("mallory-%d", round)
		s.patch(s.networkPolicyOf("coredns"), somebody, `{"spec":{"ingress":[{}]}}`)
		for i, node := range nodes {
			s.patch(s.node(node), somebody, `{"spec":{"taints":null}}`)
			s.patch(s.serviceNow(fmt.Sprintf("web-%d", i)), somebody, `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
		}
		if round == rounds-1 {
			s.Expect(admin.Delete(s.ctx, s.networkPolicyOf("coredns"))).To(Succeed())
		}
		s.Eventually(s.posture).Should(Equal(posture), "in round %d", round)
	}
	s.ready(s.name)
	s.quiet()
	drifts := rounds*(1+2*count) + 1
	asked := s.requestsSince(begun)
	s.Expect(len(asked.Repairs)).To(BeNumerically("<=", 3*drifts), asked.String)
	s.Expect(fastest(asked.Status, reportPace)).To(BeNumerically("<=", 2), asked.String)
	t.Logf("%d drifts: %d requests to repair by both, %d writes of status", drifts, len(asked.Repairs), len(asked.Status))

	// Each repairs what the other can not, so that they have seen different
	// things last.
	refuse := answering(http.StatusInternalServerError, metav1.StatusReasonInternalError, "")
	left.turn(&fault{[]string{"/services/"}, refuse})
	right.turn(&fault{[]string{"/nodes/"}, refuse})
	s.patch(s.node(nodes[0]), "mallory", `{"spec":{"taints":null}}`)
	s.Eventually(s.posture).Should(Equal(posture))
	s.patch(s.serviceNow("web-0"), "mallory", `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
	s.Eventually(s.posture).Should(Equal(posture))
	left.turn(nil)
	right.turn(nil)
	s.ready(s.name)
	s.quiet()

	// A node that joins has both report. They must agree on what to say.
	s.join("10.77.0.99", testbed.Taints(corev1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.ready(s.name)
	s.quiet()
	s.asksNothingFor(2 * reportTime)
}
