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

// If two operators ever work at once, both have the same goal and both stop
// writing: neither reverts the other's writes, or reports another status.
func TestTwoOperatorsComeToRest(t *testing.T) {
	const (
		count  = 5 // nodes, and as many Services
		rounds = 4 // of drift
	)
	s := beginStory(t)
	nodes := s.createNodes(count)
	for i := range count {
		s.createService(fmt.Sprintf("web-%d", i), corev1.ServiceTypeClusterIP)
	}
	s.createObjects(s.newPolicy())
	left, right := newFaultProxy(t, s.rights), newFaultProxy(t, s.rights)
	s.startOperatorAs(left.clientConfig())
	s.startOperatorAs(right.clientConfig())
	s.waitUntilReady(s.name)
	s.waitUntilQuiet()
	posture, begun := s.readPosture(), s.markAuditLog()

	for round := range rounds {
		manager := fmt.Sprintf("mallory-%d", round)
		s.patchObject(s.networkPolicyOf("coredns"), manager, `{"spec":{"ingress":[{}]}}`)
		for i, node := range nodes {
			s.patchObject(s.getNode(node), manager, `{"spec":{"taints":null}}`)
			s.patchObject(s.getService(fmt.Sprintf("web-%d", i)), manager, `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
		}
		if round == rounds-1 {
			s.Expect(s.admin.Delete(s.ctx, s.networkPolicyOf("coredns"))).To(Succeed())
		}
		s.Eventually(s.readPosture).Should(Equal(posture), "in round %d", round)
	}
	s.waitUntilReady(s.name)
	s.waitUntilQuiet()
	drifts := rounds*(1+2*count) + 1
	asked := s.requestsSince(begun)
	s.Expect(len(asked.Repairs)).To(BeNumerically("<=", 3*drifts), asked.String)
	s.Expect(mostWithin(asked.Status, reportPace)).To(BeNumerically("<=", 2), asked.String)
	t.Logf("%d drifts: %d requests to repair by both, %d writes of status", drifts, len(asked.Repairs), len(asked.Status))

	// Each operator repairs other objects, so both have last seen different objects.
	refuse := answerWith(http.StatusInternalServerError, metav1.StatusReasonInternalError, "")
	left.setFault(&fault{[]string{"/services/"}, refuse})
	right.setFault(&fault{[]string{"/nodes/"}, refuse})
	s.patchObject(s.getNode(nodes[0]), "mallory", `{"spec":{"taints":null}}`)
	s.Eventually(s.readPosture).Should(Equal(posture))
	s.patchObject(s.getService("web-0"), "mallory", `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
	s.Eventually(s.readPosture).Should(Equal(posture))
	left.setFault(nil)
	right.setFault(nil)
	s.waitUntilReady(s.name)
	s.waitUntilQuiet()

	// A new node makes both operators report. Both must report the same.
	s.joinNode("10.77.0.99", testbed.Taints(corev1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.waitUntilReady(s.name)
	s.waitUntilQuiet()
	s.expectNoRequests(2 * reportTime)
}
