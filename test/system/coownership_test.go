// SPDX-License-Identifier: Apache-2.0

package system

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// playedMinutes is the simulated time of each story of co-ownership.
const playedMinutes = 4

// beginApplication begins a story with a clock that can be set ahead.
func beginApplication(t *testing.T) (*story, *leapingClock, string) {
	s, wall := beginStory(t), &leapingClock{}
	s.clock = wall
	node := s.createNodes(1)[0]
	s.Eventually(func() []corev1.Taint { return s.getNode(node).Spec.Taints }).Should(BeEmpty(), "Kubernetes has removed its own taints")
	return s, wall, node
}

// beginServiceInGit declares a Service in git with another traffic policy than the policy's.
func beginServiceInGit(t *testing.T, ignored string, conflicts v1alpha1.ConflictPolicy) (*story, *application) {
	s, wall, node := beginApplication(t)
	git := &application{
		argo: s.inGitService(serverSide, map[string]any{"externalTrafficPolicy": "Cluster"}), wall: wall, ignored: ignored,
	}
	git.syncNow()
	s.createObjects(testbed.EndpointSlice(s.getService("web"), testbed.Endpoint(node, "10.1.0.1", true)))
	policy := s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyLocal))
	policy.Spec.Services[0].ConflictPolicy = conflicts
	s.createObjects(policy)
	s.startOperator()
	return s, git
}

// beginNodeInGit declares a node in git with a list of taints that lacks the policy's taint.
func beginNodeInGit(t *testing.T, ignored string) (*story, *application, testbed.Mark) {
	s, wall, node := beginApplication(t)
	git := &application{argo: s.inGit(serverSide, "v1", "Node", node, map[string]any{"story": s.name},
		map[string]any{"taints": []any{map[string]any{"key": "theirs", "effect": "NoSchedule"}}}), wall: wall, ignored: ignored}
	git.syncNow()
	mark := s.markAuditLog()
	s.createObjects(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.startOperator()
	return s, git, mark
}

// By default, a Service's field in git is not written over minutes, and Argo CD has nothing
// to heal.
func TestServiceInGitIsNotContestedForMinutes(t *testing.T) {
	s, git := beginServiceInGit(t, "", "")
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).Should(Equal("False/Conflicted"))
	mark := s.markAuditLog()
	git.playMinutes(playedMinutes)
	s.waitUntilQuiet()
	s.Expect(s.writesOf(mark, "services", "web")).To(BeEmpty())
	s.Expect(git.countWrites(mark, "services")).To(Equal(git.commits))
	s.Expect(s.conditionOf(s.name, v1alpha1.ConditionReady)()).To(Equal("False/Conflicted"))
}

// A node's taints in git are written once, because a kubelet could have declared the list of
// its own node. After Argo CD has restored its list, the taints are not written over minutes.
func TestTaintsInGitAreNotContestedForMinutes(t *testing.T) {
	s, git, mark := beginNodeInGit(t, "")
	node := git.git.GetName()
	s.Eventually(s.taintsOf(node)).Should(ConsistOf("theirs:NoSchedule", dedicated+":NoSchedule"))
	git.playMinutes(playedMinutes)
	s.waitUntilQuiet()
	s.Expect(s.writesOf(mark, "nodes", node)).To(HaveLen(1), "only the first write")
	s.Expect(git.countWrites(mark, "nodes")).To(Equal(git.commits))
	s.Expect(s.conditionOf(s.name, v1alpha1.ConditionReady)()).To(Equal("False/Conflicted"))
}

// With conflictPolicy Override alone, the two write in turn: the operator answers each write
// of Argo CD once, never more often than once a second, and names the contest within 5
// seconds.
func TestOverrideWithoutIgnoredFieldsIsBoundedForMinutes(t *testing.T) {
	const rounds, pace = 10, time.Second - 100*time.Millisecond // less the largest correction of the clock
	s, git := beginServiceInGit(t, "", v1alpha1.ConflictOverride)
	s.waitUntilReady(s.name)
	mark, begun := s.markAuditLog(), time.Now()
	git.syncNow()
	s.Eventually(s.conditionOf(s.name, v1alpha1.ConditionReady)).WithTimeout(5 * time.Second).Should(Equal("False/Contested"))
	noticed := time.Since(begun)
	git.playMinutes(playedMinutes)
	s.waitUntilQuiet()
	writes, theirs := git.wall.showTimes(s.writesOf(mark, "services", "web")), git.countWrites(mark, "services")
	t.Logf("in %d minutes, Argo CD wrote %d times, and the operator %d times; contested after %s",
		playedMinutes, theirs, len(writes), noticed.Round(time.Millisecond))
	s.Expect(len(writes)).To(And(BeNumerically(">", rounds), BeNumerically("<=", theirs)), "one answer to each write")
	s.Expect(mostWithin(writes[rounds:], pace)).To(Equal(1), "%s", requests{Repairs: writes})
	s.Expect(s.conditionOf(s.name, v1alpha1.ConditionReady)()).To(Equal("False/Contested"))
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyLocal), "the operator writes last")
}

// With conflictPolicy Override, and with Argo CD ignoring the operator's
// fields, neither of the two writes the field again.
func TestIgnoredServiceFieldRestsForMinutes(t *testing.T) {
	s, git := beginServiceInGit(t, v1alpha1.FieldManagerServices, v1alpha1.ConflictOverride)
	s.waitUntilReady(s.name)
	s.waitUntilQuiet()
	mark := s.markAuditLog()
	git.playMinutes(playedMinutes)
	s.waitUntilQuiet()
	s.Expect(s.writesOf(mark, "services", "web")).To(BeEmpty())
	s.Expect(git.countWrites(mark, "services")).To(Equal(git.commits), "commits, and nothing to heal")
	s.waitUntilReady(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyLocal))
}

// The same for a node's taints.
func TestIgnoredTaintsRestForMinutes(t *testing.T) {
	s, git, mark := beginNodeInGit(t, v1alpha1.FieldManagerTaints)
	node := git.git.GetName()
	s.waitUntilReady(s.name)
	s.waitUntilQuiet()
	git.playMinutes(playedMinutes)
	s.waitUntilQuiet()
	s.Expect(s.writesOf(mark, "nodes", node)).To(HaveLen(1), "only the first write")
	s.Expect(git.countWrites(mark, "nodes")).To(Equal(git.commits), "commits, and nothing to heal")
	s.waitUntilReady(s.name)
	s.Expect(s.taintsOf(node)()).To(ConsistOf("theirs:NoSchedule", dedicated+":NoSchedule"))
}
