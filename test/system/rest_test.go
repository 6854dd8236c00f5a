// SPDX-License-Identifier: Apache-2.0

package system

import (
	"fmt"
	"os"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
)

// withLeaderElection makes the operator hold its lease in the story's namespace, with the
// shipped Role.
func (s *story) withLeaderElection() func(*ctrl.Options) {
	s.t.Helper()
	text, err := os.ReadFile("../../config/rbac/leader_election_role.yaml")
	s.Expect(err).NotTo(HaveOccurred())
	role := &rbacv1.Role{}
	s.Expect(yaml.UnmarshalStrict(text, role)).To(Succeed())
	role.Namespace = s.name
	s.createObjects(role, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}},
	})
	return func(o *ctrl.Options) { o.LeaderElection, o.LeaderElectionNamespace = true, s.name }
}

// While no object of a policy changes, the operator only renews the lease, despite any
// other changes in the cluster.
func TestNoRequestsAreMadeAtRest(t *testing.T) {
	const (
		window  = 4 * time.Second
		beats   = 80
		between = window / beats // 20 heartbeats a second, as of 200 nodes
	)
	s := beginStoryAlone(t)
	nodes := s.createNodes(4)
	s.createService("web", corev1.ServiceTypeLoadBalancer)
	s.createObjects(s.newPolicy(), s.auditingPolicy(), s.foreignNetworkPolicy("theirs"))
	s.startOperatorAs(s.rights, s.withLeaderElection())
	s.waitUntilReady(s.name)
	s.Eventually(s.conditionOf(s.name+"-audit", v1alpha1.ConditionReady)).Should(Equal("True/Audited"))
	s.waitUntilQuiet()

	mark, before := s.markAuditLog(), s.countReconciliations()
	ticker := time.NewTicker(between)
	defer ticker.Stop()
	for i := range beats {
		<-ticker.C
		s.sendHeartbeat(nodes[i%len(nodes)])
		switch i {
		case 10:
			s.Expect(s.admin.Status().Patch(s.ctx, s.getService("web"), client.RawPatch(types.MergePatchType,
				[]byte(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.7"}]}}}`)))).To(Succeed())
		case 20:
			s.patchObject(s.foreignNetworkPolicy("theirs"), "owner", `{"spec":{"egress":[{}]}}`)
		case 30:
			s.patchObject(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}}, "owner", `{"metadata":{"annotations":{"any":"thing"}}}`)
		}
	}
	s.Expect(s.requestsSince(mark)).To(BeZero())
	s.Expect(s.countReconciliations()-before).To(BeZero(), "there are no reconciliations either")

	logged, err := s.cluster.Audit().Since(mark)
	s.Expect(err).NotTo(HaveOccurred())
	heartbeats, leases := 0, 0
	for _, e := range logged {
		if e.Resource == "nodes" && e.Subresource == "status" && e.Succeeded() {
			heartbeats++
		}
		if e.User == operatorUser && e.Resource == "leases" {
			leases++
		}
	}
	s.Expect(heartbeats).To(BeNumerically(">=", beats), "too few heartbeats for the test")
	s.Expect(leases).To(And(BeNumerically(">=", 1), BeNumerically("<=", 2*int(window/(2*time.Second))+2)), "the lease is renewed every two seconds")
	t.Logf("%d heartbeats, %d requests for the lease, none besides, in %s", heartbeats, leases, window)
}

// auditingPolicy returns a policy in Audit mode with drift.
func (s *story) auditingPolicy() *v1alpha1.ControlPlaneNetworkPolicy {
	policy := s.newPolicy()
	policy.Name += "-audit"
	policy.Spec.Mode = v1alpha1.ModeAudit
	policy.Spec.Network, policy.Spec.Services = nil, nil
	policy.Spec.Taints = []v1alpha1.Taint{{Key: "audited", Effect: corev1.TaintEffectNoSchedule}}
	return policy
}

// sendHeartbeat writes the status as a kubelet does every few minutes, or after a change of
// images.
func (s *story) sendHeartbeat(node string) {
	s.t.Helper()
	now := time.Now().UTC().Format(time.RFC3339)
	body := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","lastHeartbeatTime":%q}],"images":[{"names":["image-%s"]}]}}`, now, now)
	s.Expect(s.admin.Status().Patch(s.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}},
		client.RawPatch(types.StrategicMergePatchType, []byte(body)))).To(Succeed())
}

// Every repair is one request, without a read. Writes of the status and of events are paced.
func TestOneDriftIsRepairedByOneWrite(t *testing.T) {
	const count = 5 // objects of each kind; one drift on each
	s := beginStory(t)
	nodes := s.createNodes(count)
	policy := s.newPolicy()
	policy.Spec.Taints[0].Value = "yes"
	policy.Spec.Network.Components = nil
	var components, services []string
	for i := range count {
		component := s.corednsComponent()
		component.Name = fmt.Sprintf("coredns-%d", i)
		component.Pods.Selector.MatchLabels = map[string]v1alpha1.LabelValue{"k8s-app": v1alpha1.LabelValue(component.Name)}
		policy.Spec.Network.Components = append(policy.Spec.Network.Components, component)
		components = append(components, component.Name)
		services = append(services, s.createService(fmt.Sprintf("web-%d", i), corev1.ServiceTypeClusterIP).Name)
	}
	s.createObjects(policy)
	s.startOperator()
	s.waitUntilReady(s.name)

	for _, drift := range []struct {
		name    string
		objects []string
		make    func(object string)
	}{
		{"a NetworkPolicy is edited", components, func(c string) {
			s.patchObject(s.networkPolicyOf(c), "mallory", `{"spec":{"ingress":[{}]}}`)
		}},
		{"a NetworkPolicy is deleted", components, func(c string) {
			s.Expect(s.admin.Delete(s.ctx, s.networkPolicyOf(c))).To(Succeed())
		}},
		{"a NetworkPolicy gets rules for egress", components, func(c string) {
			s.patchObject(s.networkPolicyOf(c), "mallory", `{"spec":{"egress":[{}],"policyTypes":["Ingress","Egress"]}}`)
		}},
		{"a taint is removed", nodes, func(n string) {
			s.patchObject(s.getNode(n), "mallory", `{"spec":{"taints":null}}`)
		}},
		{"a taint gets another value", nodes, func(n string) {
			s.patchObject(s.getNode(n), "mallory", `{"spec":{"taints":[{"key":"`+dedicated+`","effect":"NoSchedule","value":"no"}]}}`)
		}},
		{"a Service's field is changed", services, func(n string) {
			s.patchObject(s.getService(n), "mallory", `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
		}},
	} {
		t.Run(drift.name, func(t *testing.T) {
			s := s.inSubtest(t)
			s.waitUntilQuiet()
			posture, mark := s.readPosture(), s.markAuditLog()
			for _, object := range drift.objects {
				drift.make(object)
			}
			s.waitUntilQuiet()
			s.Expect(s.readPosture()).To(Equal(posture), "everything is repaired")
			asked := s.requestsSince(mark)
			s.Expect(asked.Repairs).To(HaveLen(count), asked.String)
			s.Expect(asked.Reads).To(BeEmpty())
			s.Expect(mostWithin(asked.Status, reportPace)).To(BeNumerically("<=", 1), asked.String)
			s.Expect(len(asked.Status)).To(And(BeNumerically(">=", 1), BeNumerically("<=", 3)), asked.String)
			s.Expect(len(asked.Events)).To(And(BeNumerically(">=", 1), BeNumerically("<=", 2*len(asked.Status)+1)), asked.String)
			t.Logf("%d drifts: %d repairs, %d writes of status, %d events, no read", count, len(asked.Repairs), len(asked.Status), len(asked.Events))
		})
	}
}
