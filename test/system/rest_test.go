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

// electsLeader has the operator hold its lease in the story's namespace, with
// the Role that is shipped for it.
func (s *story) electsLeader() func(*ctrl.Options) {
	s.t.Helper()
	text, err := os.ReadFile("../../config/rbac/leader_election_role.yaml")
	s.Expect(err).NotTo(HaveOccurred())
	role := &rbacv1.Role{}
	s.Expect(yaml.UnmarshalStrict(text, role)).To(Succeed())
	role.Namespace = s.name
	s.create(role, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.name, Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role.Name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: operatorUser}},
	})
	return func(o *ctrl.Options) { o.LeaderElection, o.LeaderElectionNamespace = true, s.name }
}

// While nothing changes that a policy is about, the operator asks for nothing
// but its lease, whatever else goes on in the cluster.
func TestAtRestNothingIsAsked(t *testing.T) {
	const (
		window  = 4 * time.Second
		beats   = 80
		between = window / beats // 20 heartbeats a second, those of 200 nodes
	)
	s := begin(t)
	nodes := s.nodes(4)
	s.service("web", corev1.ServiceTypeLoadBalancer)
	s.create(s.policy(), s.auditing(), s.foreignNetworkPolicy("theirs"))
	s.operatorAs(operatorConfig, s.electsLeader())
	s.ready(s.name)
	s.Eventually(s.condition(s.name+"-audit", v1alpha1.ConditionReady)).Should(Equal("False/Drifted"))
	s.quiet()

	mark, before := s.mark(), s.reconciliations()
	ticker := time.NewTicker(between)
	defer ticker.Stop()
	for i := range beats {
		<-ticker.C
		s.heartbeat(nodes[i%len(nodes)])
		switch i {
		case 10:
			s.Expect(admin.Status().Patch(s.ctx, s.serviceNow("web"), client.RawPatch(types.MergePatchType,
				[]byte(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.7"}]}}}`)))).To(Succeed())
		case 20:
			s.patch(s.foreignNetworkPolicy("theirs"), "owner", `{"spec":{"egress":[{}]}}`)
		case 30:
			s.patch(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}}, "owner", `{"metadata":{"annotations":{"any":"thing"}}}`)
		}
	}
	s.Expect(s.requestsSince(mark)).To(BeZero())
	s.Expect(s.reconciliations()-before).To(BeZero(), "nothing is looked at either")

	logged, err := cluster.Audit().Since(mark)
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
	s.Expect(heartbeats).To(BeNumerically(">=", beats), "there were heartbeats to be disturbed by")
	s.Expect(leases).To(And(BeNumerically(">=", 1), BeNumerically("<=", 2*int(window/(2*time.Second))+2)), "the lease is renewed every two seconds")
	t.Logf("%d heartbeats, %d requests for the lease, none besides, in %s", heartbeats, leases, window)
}

// auditing returns a policy that only audits, and finds drift.
func (s *story) auditing() *v1alpha1.ControlPlaneNetworkPolicy {
	policy := s.policy()
	policy.Name += "-audit"
	policy.Spec.Mode = v1alpha1.ModeAudit
	policy.Spec.Network, policy.Spec.Services = nil, nil
	policy.Spec.Taints = []v1alpha1.Taint{{Key: "audited", Effect: corev1.TaintEffectNoSchedule}}
	return policy
}

// heartbeat is what a kubelet tells every few minutes, or when its images change.
func (s *story) heartbeat(node string) {
	s.t.Helper()
	now := time.Now().UTC().Format(time.RFC3339)
	body := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","lastHeartbeatTime":%q}],"images":[{"names":["image-%s"]}]}}`, now, now)
	s.Expect(admin.Status().Patch(s.ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}},
		client.RawPatch(types.StrategicMergePatchType, []byte(body)))).To(Succeed())
}

// Every repair is one request, and nothing has to be read for it. The status,
// and the events about it, are paced.
func TestOneDriftIsRepairedByOneWrite(t *testing.T) {
	const count = 5 // objects of each kind; one drift on each
	s := begin(t)
	nodes := s.nodes(count)
	policy := s.policy()
	policy.Spec.Taints[0].Value = "yes"
	policy.Spec.Network.Components = nil
	var components, services []string
	for i := range count {
		component := s.coredns()
		component.Name = fmt.Sprintf("coredns-%d", i)
		component.Pods.Selector.MatchLabels = map[string]v1alpha1.LabelValue{"k8s-app": v1alpha1.LabelValue(component.Name)}
		policy.Spec.Network.Components = append(policy.Spec.Network.Components, component)
		components = append(components, component.Name)
		services = append(services, s.service(fmt.Sprintf("web-%d", i), corev1.ServiceTypeClusterIP).Name)
	}
	s.create(policy)
	s.operator()
	s.ready(s.name)

	for _, drift := range []struct {
		name    string
		objects []string
		make    func(object string)
	}{
		{"a NetworkPolicy is edited", components, func(c string) {
			s.patch(s.networkPolicyOf(c), "mallory", `{"spec":{"ingress":[{}]}}`)
		}},
		{"a NetworkPolicy is deleted", components, func(c string) {
			s.Expect(admin.Delete(s.ctx, s.networkPolicyOf(c))).To(Succeed())
		}},
		{"a NetworkPolicy gets rules for egress", components, func(c string) {
			s.patch(s.networkPolicyOf(c), "mallory", `{"spec":{"egress":[{}],"policyTypes":["Ingress","Egress"]}}`)
		}},
		{"a taint is removed", nodes, func(n string) {
			s.patch(s.node(n), "mallory", `{"spec":{"taints":null}}`)
		}},
		{"a taint gets another value", nodes, func(n string) {
			s.patch(s.node(n), "mallory", `{"spec":{"taints":[{"key":"`+dedicated+`","effect":"NoSchedule","value":"no"}]}}`)
		}},
		{"a Service's field is changed", services, func(n string) {
			s.patch(s.serviceNow(n), "mallory", `{"spec":{"internalTrafficPolicy":"Cluster"}}`)
		}},
	} {
		t.Run(drift.name, func(t *testing.T) {
			s := s.in(t)
			s.quiet()
			posture, mark := s.posture(), s.mark()
			for _, object := range drift.objects {
				drift.make(object)
			}
			s.quiet()
			s.Expect(s.posture()).To(Equal(posture), "everything is as it was")
			asked := s.requestsSince(mark)
			s.Expect(asked.Repairs).To(HaveLen(count), asked.String)
			s.Expect(asked.Reads).To(BeEmpty())
			s.Expect(fastest(asked.Status, reportPace)).To(BeNumerically("<=", 1), asked.String)
			s.Expect(len(asked.Status)).To(And(BeNumerically(">=", 1), BeNumerically("<=", 3)), asked.String)
			s.Expect(len(asked.Events)).To(And(BeNumerically(">=", 1), BeNumerically("<=", 2*len(asked.Status)+1)), asked.String)
			t.Logf("%d drifts: %d repairs, %d writes of status, %d events, no read", count, len(asked.Repairs), len(asked.Status), len(asked.Events))
		})
	}
}
