// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"fmt"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

// as returns a client with the rights of a user.
func (s *story) as(user string, groups ...string) client.Client {
	s.t.Helper()
	config, err := cluster.AddUser(user, groups...)
	s.Expect(err).NotTo(HaveOccurred())
	c, err := client.New(config, client.Options{Scheme: options.NewScheme()})
	s.Expect(err).NotTo(HaveOccurred())
	return c
}

// userWith returns a client of a user who may do what the rule allows, and nothing else.
func (s *story) userWith(name string, rule rbacv1.PolicyRule) client.Client {
	s.t.Helper()
	role := testbed.RoleOf(name, "", rule)
	s.create(role...)
	s.t.Cleanup(func() {
		for _, object := range role {
			if err := admin.Delete(context.Background(), object); err != nil {
				s.t.Error(err)
			}
		}
	})
	return s.as(name)
}

// kubelet returns a client with the rights of the node's kubelet.
func (s *story) kubelet(node string) client.Client { return s.as("system:node:"+node, "system:nodes") }

// statusWriter returns a client that may patch the status of nodes, and no more.
func (s *story) statusWriter() client.Client {
	s.t.Helper()
	name := s.name + "-status-writer"
	return s.userWith(name, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"nodes/status"}, Verbs: []string{"patch"}})
}

func annotate(key, value string) client.Patch {
	return client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, key, value))
}

// Whoever may write a node's annotations, and not its taints, must not have the
// operator write them.
func TestRecordThatAKubeletForgesRemovesNoTaint(t *testing.T) {
	s := begin(t)
	node := s.nodes(1, testbed.Taints(corev1.Taint{Key: "theirs", Value: "x", Effect: corev1.TaintEffectNoSchedule}))[0]
	worker := s.name + "-worker"
	s.Expect(testbed.CreateNode(s.ctx, admin, testbed.Node(worker, testbed.InternalIP("10.77.1.1"),
		testbed.Taints(corev1.Taint{Key: "quarantine", Value: "yes", Effect: corev1.TaintEffectNoExecute})))).To(Succeed())
	s.create(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.operator()
	s.ready(s.name)

	forged := func(field, applied, original string) client.Patch {
		return annotate(v1alpha1.AnnotationRecord, fmt.Sprintf(`{%q:{"policy":%q,"applied":%q,"original":%s}}`, field, s.name, applied, original))
	}
	kubelet, writer := s.kubelet(worker), s.statusWriter()
	target := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: worker}}
	s.Expect(kubelet.Patch(s.ctx, target.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"taints":[]}}`)))).
		To(Satisfy(apierrors.IsForbidden), "it may not do so itself")
	s.Eventually(func() error {
		return kubelet.Patch(s.ctx, target.DeepCopy(), forged("quarantine:NoExecute", "yes", "null"))
	}).Should(Succeed())
	own := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	s.Eventually(func() error {
		return client.IgnoreNotFound(writer.Status().Patch(s.ctx, own.DeepCopy(), forged("theirs:NoSchedule", "x", `"y"`)))
	}).Should(Succeed())

	// A repair on the same nodes shows that they were looked at since.
	s.Expect(admin.Patch(s.ctx, target.DeepCopy(), client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"story":"`+s.name+`"}}}`)))).To(Succeed())
	s.Eventually(s.taints(worker)).Should(ContainElement(HavePrefix(dedicated)))
	s.patch(s.node(node), "mallory", `{"spec":{"taints":[{"key":"theirs","value":"x","effect":"NoSchedule"}]}}`)
	s.Eventually(s.taints(node)).Should(ContainElement(HavePrefix(dedicated)))
	s.Expect(s.taints(node)()).To(ContainElement("theirs=x:NoSchedule"))
	s.Expect(s.taints(worker)()).To(ContainElement("quarantine=yes:NoExecute"))
	s.delete(s.name)
	s.Expect(s.taints(node)()).To(ConsistOf("theirs=x:NoSchedule"))
	s.Expect(s.taints(worker)()).To(ContainElement("quarantine=yes:NoExecute"))
}

// What was done to nodes is out of the reach of everybody who has no rights to the
// operator's own objects.
func TestRecordOfANodeIsTheOperatorsAlone(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	s.create(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.operator()
	s.ready(s.name)
	s.Expect(s.recorded(node)()).To(ConsistOf(v1alpha1.RecordedTaint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule, Policy: s.name}))
	record := &v1alpha1.ControlPlaneNodeRecord{ObjectMeta: metav1.ObjectMeta{Name: node}}
	s.Expect(s.kubelet(node).Delete(s.ctx, record)).To(Satisfy(apierrors.IsForbidden))
	s.Expect(s.kubelet(node).Patch(s.ctx, record, annotate("a", "b"))).To(Satisfy(apierrors.IsForbidden))

	// It is made anew where an administrator deletes it, with what is remembered.
	s.Expect(admin.Delete(s.ctx, record)).To(Succeed())
	s.Eventually(s.recorded(node)).Should(ConsistOf(v1alpha1.RecordedTaint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule, Policy: s.name}))
	s.delete(s.name)
	s.Expect(s.taints(node)()).To(BeEmpty())
	s.Expect(s.recorded(node)()).To(BeEmpty())
	s.Eventually(s.events(s.name)).Should(ContainElement(And(HaveField("Reason", "Released"),
		HaveField("Note", ContainSubstring("Node/"+node+" "+dedicated+":NoSchedule was removed")))))
}

// A node that is made anew under its name has nothing of the one before.
func TestRecordGoesWithItsNode(t *testing.T) {
	s := begin(t)
	node := s.nodes(1)[0]
	s.create(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.operator()
	s.ready(s.name)
	s.Expect(admin.Delete(s.ctx, s.node(node))).To(Succeed())
	s.nodes(1, testbed.Taints(corev1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.Eventually(s.recorded(node)).Should(ConsistOf(HaveField("Original", HaveValue(BeEmpty()))), "this one had the taint before")
	s.delete(s.name)
	s.Expect(s.taints(node)()).To(ConsistOf(dedicated + ":NoSchedule"))
}

// An earlier version kept records on the nodes.
func TestRecordsOfAnEarlierVersionAreMovedOver(t *testing.T) {
	s := begin(t)
	nodes := s.nodes(2, testbed.Taints(corev1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	policy := s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule})
	policy.Finalizers = []string{v1alpha1.Finalizer}
	s.create(policy)
	policy.Status.ObservedGeneration = 1
	s.Expect(admin.Status().Update(s.ctx, policy)).To(Succeed())
	for i, original := range []string{"null", `"before"`} {
		s.Expect(admin.Patch(s.ctx, s.node(nodes[i]), annotate(v1alpha1.AnnotationRecord,
			`{"`+dedicated+`:NoSchedule":{"policy":"`+s.name+`","applied":"","original":`+original+`}}`))).To(Succeed())
	}
	s.operator()
	s.ready(s.name)
	s.Eventually(func() int32 { return s.get(s.name).Status.RecordFormat }).Should(BeEquivalentTo(2))
	s.Expect(s.recorded(nodes[0])()).To(ConsistOf(HaveField("Original", BeNil())))
	s.Expect(s.recorded(nodes[1])()).To(ConsistOf(HaveField("Original", HaveValue(Equal("before")))))
	s.Expect(s.node(nodes[0]).Annotations).NotTo(HaveKey(v1alpha1.AnnotationRecord))
	s.delete(s.name)
	s.Expect(s.taints(nodes[0])()).To(BeEmpty())
	s.Expect(s.taints(nodes[1])()).To(ConsistOf(dedicated + "=before:NoSchedule"))
}

// Some policies together may have declared many taints for a node. Its kubelet has
// written into the same annotation, which makes nothing its own.
func TestLongRecordsOfAnEarlierVersionAreMovedOver(t *testing.T) {
	const each = 16
	s := begin(t)
	var had, entries []string
	var taints []corev1.Taint
	for i := range 4 * each {
		key := fmt.Sprintf("taint-%02d.%s.example.org/dedicated", i, s.name)
		taints = append(taints, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule})
		had = append(had, key+"=before:NoSchedule")
	}
	forged := corev1.Taint{Key: "quarantine", Value: "yes", Effect: corev1.TaintEffectNoExecute}
	node := s.nodes(1, testbed.Taints(append([]corev1.Taint{forged}, taints...)...))[0]
	var names []string
	for i := range 4 {
		policy := s.onlyTaints()
		policy.Name = fmt.Sprintf("%s-%d", s.name, i)
		policy.Finalizers = []string{v1alpha1.Finalizer}
		for _, taint := range taints[i*each : (i+1)*each] {
			policy.Spec.Taints = append(policy.Spec.Taints, v1alpha1.Taint{Key: taint.Key, Effect: taint.Effect})
			entries = append(entries, fmt.Sprintf(`"%s:NoSchedule":{"policy":%q,"applied":"","original":"before"}`, taint.Key, policy.Name))
		}
		s.create(policy)
		policy.Status.ObservedGeneration = 1
		s.Expect(admin.Status().Update(s.ctx, policy)).To(Succeed())
		names = append(names, policy.Name)
	}
	text := "{" + strings.Join(append(entries, `"quarantine:NoExecute":{"policy":"`+names[0]+`","applied":"yes","original":null}`), ",") + "}"
	s.Expect(len(text)).To(BeNumerically(">", 8<<10))
	own := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	s.Eventually(func() error { return s.kubelet(node).Patch(s.ctx, own, annotate(v1alpha1.AnnotationRecord, text)) }).Should(Succeed())
	s.operator()
	for _, name := range names {
		s.ready(name)
	}
	s.Eventually(s.recorded(node)).Should(And(HaveLen(len(taints)), HaveEach(HaveField("Original", HaveValue(Equal("before"))))))
	s.Eventually(func() map[string]string { return s.node(node).Annotations }).ShouldNot(HaveKey(v1alpha1.AnnotationRecord))
	for _, name := range names {
		s.delete(name)
	}
	s.Expect(s.taints(node)()).To(ConsistOf(append(had, "quarantine=yes:NoExecute")))
}

// What a tenant writes into the record of his Service is his own affair: it holds up
// no policy, and is told once.
func TestRecordOfAServiceThatIsMadeUpHoldsUpNothing(t *testing.T) {
	s := begin(t)
	s.nodes(1)
	web := s.service("web", corev1.ServiceTypeNodePort)
	other := testbed.Service(s.name, "other", corev1.ServiceTypeNodePort)
	other.Annotations = map[string]string{v1alpha1.AnnotationRecord: `{"externalTrafficPolicy":{"policy":"` + s.name + `","applied":"Cluster","original":"bogus"}}`}
	policy := s.onlyServices(external(corev1.ServiceExternalTrafficPolicyCluster))
	policy.Spec.Services[0].InternalTrafficPolicy = ""
	s.create(other, policy)
	s.operator()
	s.ready(s.name)
	s.Expect(admin.Patch(s.ctx, web, annotate(v1alpha1.AnnotationRecord,
		`{"externalTrafficPolicy":{"policy":"`+s.name+`","applied":"Cluster","original":"bogus"}}`))).To(Succeed())
	s.Eventually(s.events(s.name)).Should(ContainElement(And(HaveField("Reason", "RecordReplaced"), HaveField("Note", ContainSubstring("Service/"+s.name+"/web")))))
	s.ready(s.name)
	s.Expect(s.serviceNow("web").Annotations[v1alpha1.AnnotationRecord]).NotTo(ContainSubstring("bogus"))
	s.delete(s.name)
	s.Expect(s.serviceNow("other").Annotations[v1alpha1.AnnotationRecord]).To(ContainSubstring("bogus"), "it is none of the operator's")
}

// A Service whose annotations are full does not get out of the policy's way.
func TestServiceWithFullAnnotationsIsWritten(t *testing.T) {
	s := begin(t)
	s.nodes(1)
	web := testbed.Service(s.name, "web", corev1.ServiceTypeNodePort, testbed.ServiceLabels(s.label()))
	web.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	web.Annotations = map[string]string{"full": strings.Repeat("x", 256<<10-4)}
	s.create(web, s.onlyServices(external(corev1.ServiceExternalTrafficPolicyCluster)))
	s.operator()
	s.ready(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))
	s.patch(s.serviceNow("web"), "mallory", `{"spec":{"externalTrafficPolicy":"Local"}}`)
	s.Eventually(s.externalTrafficPolicy("web")).Should(Equal(corev1.ServiceExternalTrafficPolicyCluster))
	s.Eventually(s.lastDrift(s.name)).Should(HaveField("Name", "web"))
	s.delete(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyLocal), "what it was before is remembered")
}

// What the API server refuses to restore is let go after some tries, and told.
func TestWhatCannotBeRestoredHoldsUpNoDeletion(t *testing.T) {
	s := begin(t)
	s.nodes(1)
	web := testbed.Service(s.name, "web", corev1.ServiceTypeClusterIP, testbed.ServiceLabels(s.label()))
	web.Spec.TrafficDistribution = ptr.To("PreferClose")
	policy := s.onlyServices(func(p *v1alpha1.ServiceTrafficPolicy) { p.TrafficDistribution = "PreferSameNode" })
	s.create(web, policy)
	s.operator()
	s.ready(s.name)
	s.refuse("PreferClose")
	s.delete(s.name)
	s.Eventually(s.events(s.name)).Should(ContainElement(And(HaveField("Reason", "NotRestored"),
		HaveField("Note", ContainSubstring("Service/"+s.name+"/web trafficDistribution could not be restored")))))
	s.Expect(s.serviceNow("web").Annotations).NotTo(HaveKey(v1alpha1.AnnotationRecord))
}
