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

// clientAs returns a client with the rights of a user.
func (s *story) clientAs(user string, groups ...string) client.Client {
	s.t.Helper()
	config, err := s.cluster.AddUser(user, groups...)
	s.Expect(err).NotTo(HaveOccurred())
	c, err := client.New(config, client.Options{Scheme: options.NewScheme()})
	s.Expect(err).NotTo(HaveOccurred())
	return c
}

// userWith returns a client of a user with the rights of the rule, and no other rights.
func (s *story) userWith(name string, rule rbacv1.PolicyRule) client.Client {
	s.t.Helper()
	role := testbed.RoleOf(name, "", rule)
	s.createObjects(role...)
	s.t.Cleanup(func() {
		for _, object := range role {
			if err := s.admin.Delete(context.Background(), object); err != nil {
				s.t.Error(err)
			}
		}
	})
	return s.clientAs(name)
}

// kubeletClient returns a client with the rights of the node's kubelet.
func (s *story) kubeletClient(node string) client.Client {
	return s.clientAs("system:node:"+node, "system:nodes")
}

// statusWriter returns a client with the single right to patch the status of nodes.
func (s *story) statusWriter() client.Client {
	s.t.Helper()
	name := s.name + "-status-writer"
	return s.userWith(name, rbacv1.PolicyRule{APIGroups: []string{""}, Resources: []string{"nodes/status"}, Verbs: []string{"patch"}})
}

func annotationPatch(key, value string) client.Patch {
	return client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, key, value))
}

// A user with the right to write a node's annotations, but not its taints, must not be able
// to write taints through the operator.
func TestForgedRecordOfAKubeletRemovesNoTaint(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1, testbed.Taints(corev1.Taint{Key: "theirs", Value: "x", Effect: corev1.TaintEffectNoSchedule}))[0]
	worker := s.name + "-worker"
	s.Expect(testbed.CreateNode(s.ctx, s.admin, testbed.Node(worker, testbed.InternalIP("10.77.1.1"),
		testbed.Taints(corev1.Taint{Key: "quarantine", Value: "yes", Effect: corev1.TaintEffectNoExecute})))).To(Succeed())
	s.createObjects(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.startOperator()
	s.waitUntilReady(s.name)

	forged := func(field, applied, original string) client.Patch {
		return annotationPatch(v1alpha1.AnnotationRecord, fmt.Sprintf(`{%q:{"policy":%q,"applied":%q,"original":%s}}`, field, s.name, applied, original))
	}
	kubelet, writer := s.kubeletClient(worker), s.statusWriter()
	target := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: worker}}
	s.Expect(kubelet.Patch(s.ctx, target.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"spec":{"taints":[]}}`)))).
		To(Satisfy(apierrors.IsForbidden), "the kubelet has a right to do so itself")
	s.Eventually(func() error {
		return kubelet.Patch(s.ctx, target.DeepCopy(), forged("quarantine:NoExecute", "yes", "null"))
	}).Should(Succeed())
	own := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	s.Eventually(func() error {
		return client.IgnoreNotFound(writer.Status().Patch(s.ctx, own.DeepCopy(), forged("theirs:NoSchedule", "x", `"y"`)))
	}).Should(Succeed())

	// A repair on the same nodes shows a later look of the operator at the nodes.
	s.Expect(s.admin.Patch(s.ctx, target.DeepCopy(), client.RawPatch(types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"story":"`+s.name+`"}}}`)))).To(Succeed())
	s.Eventually(s.taintsOf(worker)).Should(ContainElement(HavePrefix(dedicated)))
	s.patchObject(s.getNode(node), "mallory", `{"spec":{"taints":[{"key":"theirs","value":"x","effect":"NoSchedule"}]}}`)
	s.Eventually(s.taintsOf(node)).Should(ContainElement(HavePrefix(dedicated)))
	s.Expect(s.taintsOf(node)()).To(ContainElement("theirs=x:NoSchedule"))
	s.Expect(s.taintsOf(worker)()).To(ContainElement("quarantine=yes:NoExecute"))
	s.deletePolicy(s.name)
	s.Expect(s.taintsOf(node)()).To(ConsistOf("theirs=x:NoSchedule"))
	s.Expect(s.taintsOf(worker)()).To(ContainElement("quarantine=yes:NoExecute"))
}

// Only users with rights to the operator's own objects can change the records of nodes.
func TestOnlyTheOperatorChangesRecordsOfNodes(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createObjects(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.startOperator()
	s.waitUntilReady(s.name)
	s.Expect(s.recordedTaints(node)()).To(ConsistOf(v1alpha1.RecordedTaint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule, Policy: s.name}))
	record := &v1alpha1.ControlPlaneNodeRecord{ObjectMeta: metav1.ObjectMeta{Name: node}}
	s.Expect(s.kubeletClient(node).Delete(s.ctx, record)).To(Satisfy(apierrors.IsForbidden))
	s.Expect(s.kubeletClient(node).Patch(s.ctx, record, annotationPatch("a", "b"))).To(Satisfy(apierrors.IsForbidden))

	// After a deletion by an administrator, the record is written again from memory.
	s.Expect(s.admin.Delete(s.ctx, record)).To(Succeed())
	s.Eventually(s.recordedTaints(node)).Should(ConsistOf(v1alpha1.RecordedTaint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule, Policy: s.name}))
	s.deletePolicy(s.name)
	s.Expect(s.taintsOf(node)()).To(BeEmpty())
	s.Expect(s.recordedTaints(node)()).To(BeEmpty())
	s.Eventually(s.eventsOf(s.name)).Should(ContainElement(And(HaveField("Reason", "Released"),
		HaveField("Note", ContainSubstring("Node/"+node+" "+dedicated+":NoSchedule was removed")))))
}

// A node that is created again under the same name inherits no record.
func TestRecordIsDeletedWithItsNode(t *testing.T) {
	s := beginStory(t)
	node := s.createNodes(1)[0]
	s.createObjects(s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.startOperator()
	s.waitUntilReady(s.name)
	s.Expect(s.admin.Delete(s.ctx, s.getNode(node))).To(Succeed())
	s.createNodes(1, testbed.Taints(corev1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	s.Eventually(s.recordedTaints(node)).Should(ConsistOf(HaveField("Original", HaveValue(BeEmpty()))), "the new node had the taint before")
	s.deletePolicy(s.name)
	s.Expect(s.taintsOf(node)()).To(ConsistOf(dedicated + ":NoSchedule"))
}

// An earlier version kept records on the nodes.
func TestRecordsOfAnEarlierVersionAreMigrated(t *testing.T) {
	s := beginStory(t)
	nodes := s.createNodes(2, testbed.Taints(corev1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule}))
	policy := s.onlyTaints(v1alpha1.Taint{Key: dedicated, Effect: corev1.TaintEffectNoSchedule})
	policy.Finalizers = []string{v1alpha1.Finalizer}
	s.createObjects(policy)
	policy.Status.ObservedGeneration = 1
	s.Expect(s.admin.Status().Update(s.ctx, policy)).To(Succeed())
	for i, original := range []string{"null", `"before"`} {
		s.Expect(s.admin.Patch(s.ctx, s.getNode(nodes[i]), annotationPatch(v1alpha1.AnnotationRecord,
			`{"`+dedicated+`:NoSchedule":{"policy":"`+s.name+`","applied":"","original":`+original+`}}`))).To(Succeed())
	}
	s.startOperator()
	s.waitUntilReady(s.name)
	s.Eventually(func() int32 { return s.getPolicy(s.name).Status.RecordFormat }).Should(BeEquivalentTo(2))
	s.Expect(s.recordedTaints(nodes[0])()).To(ConsistOf(HaveField("Original", BeNil())))
	s.Expect(s.recordedTaints(nodes[1])()).To(ConsistOf(HaveField("Original", HaveValue(Equal("before")))))
	s.Expect(s.getNode(nodes[0]).Annotations).NotTo(HaveKey(v1alpha1.AnnotationRecord))
	s.deletePolicy(s.name)
	s.Expect(s.taintsOf(nodes[0])()).To(BeEmpty())
	s.Expect(s.taintsOf(nodes[1])()).To(ConsistOf(dedicated + "=before:NoSchedule"))
}

// Several policies together may have declared many taints for a node. The node's kubelet
// has written into the same annotation, and still owns no taint.
func TestLongRecordsOfAnEarlierVersionAreMovedOver(t *testing.T) {
	const each = 16
	s := beginStory(t)
	var had, entries []string
	var taints []corev1.Taint
	for i := range 4 * each {
		key := fmt.Sprintf("taint-%02d.%s.example.org/dedicated", i, s.name)
		taints = append(taints, corev1.Taint{Key: key, Effect: corev1.TaintEffectNoSchedule})
		had = append(had, key+"=before:NoSchedule")
	}
	forged := corev1.Taint{Key: "quarantine", Value: "yes", Effect: corev1.TaintEffectNoExecute}
	node := s.createNodes(1, testbed.Taints(append([]corev1.Taint{forged}, taints...)...))[0]
	var names []string
	for i := range 4 {
		policy := s.onlyTaints()
		policy.Name = fmt.Sprintf("%s-%d", s.name, i)
		policy.Finalizers = []string{v1alpha1.Finalizer}
		for _, taint := range taints[i*each : (i+1)*each] {
			policy.Spec.Taints = append(policy.Spec.Taints, v1alpha1.Taint{Key: taint.Key, Effect: taint.Effect})
			entries = append(entries, fmt.Sprintf(`"%s:NoSchedule":{"policy":%q,"applied":"","original":"before"}`, taint.Key, policy.Name))
		}
		s.createObjects(policy)
		policy.Status.ObservedGeneration = 1
		s.Expect(s.admin.Status().Update(s.ctx, policy)).To(Succeed())
		names = append(names, policy.Name)
	}
	text := "{" + strings.Join(append(entries, `"quarantine:NoExecute":{"policy":"`+names[0]+`","applied":"yes","original":null}`), ",") + "}"
	s.Expect(len(text)).To(BeNumerically(">", 8<<10))
	own := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
	s.Eventually(func() error {
		return s.kubeletClient(node).Patch(s.ctx, own, annotationPatch(v1alpha1.AnnotationRecord, text))
	}).Should(Succeed())
	s.startOperator()
	for _, name := range names {
		s.waitUntilReady(name)
	}
	s.Eventually(s.recordedTaints(node)).Should(And(HaveLen(len(taints)), HaveEach(HaveField("Original", HaveValue(Equal("before"))))))
	s.Eventually(func() map[string]string { return s.getNode(node).Annotations }).ShouldNot(HaveKey(v1alpha1.AnnotationRecord))
	for _, name := range names {
		s.deletePolicy(name)
	}
	s.Expect(s.taintsOf(node)()).To(ConsistOf(append(had, "quarantine=yes:NoExecute")))
}

// A tenant's forged record of a Service concerns only this Service: the forgery delays no
// policy, and is reported once.
func TestForgedRecordOfAServiceDelaysNoPolicy(t *testing.T) {
	s := beginStory(t)
	s.createNodes(1)
	web := s.createService("web", corev1.ServiceTypeNodePort)
	other := testbed.Service(s.name, "other", corev1.ServiceTypeNodePort)
	other.Annotations = map[string]string{v1alpha1.AnnotationRecord: `{"externalTrafficPolicy":{"policy":"` + s.name + `","applied":"Cluster","original":"bogus"}}`}
	policy := s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyCluster))
	policy.Spec.Services[0].InternalTrafficPolicy = ""
	s.createObjects(other, policy)
	s.startOperator()
	s.waitUntilReady(s.name)
	s.Expect(s.admin.Patch(s.ctx, web, annotationPatch(v1alpha1.AnnotationRecord,
		`{"externalTrafficPolicy":{"policy":"`+s.name+`","applied":"Cluster","original":"bogus"}}`))).To(Succeed())
	s.Eventually(s.eventsOf(s.name)).Should(ContainElement(And(HaveField("Reason", "RecordReplaced"), HaveField("Note", ContainSubstring("Service/"+s.name+"/web")))))
	s.waitUntilReady(s.name)
	s.Expect(s.getService("web").Annotations[v1alpha1.AnnotationRecord]).NotTo(ContainSubstring("bogus"))
	s.deletePolicy(s.name)
	s.Expect(s.getService("other").Annotations[v1alpha1.AnnotationRecord]).To(ContainSubstring("bogus"), "the operator removed a foreign record")
}

// A Service with full annotations does not escape the policy.
func TestServiceWithFullAnnotationsIsWritten(t *testing.T) {
	s := beginStory(t)
	s.createNodes(1)
	web := testbed.Service(s.name, "web", corev1.ServiceTypeNodePort, testbed.ServiceLabels(s.storyLabels()))
	web.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	web.Annotations = map[string]string{"full": strings.Repeat("x", 256<<10-4)}
	s.createObjects(web, s.onlyServices(setExternal(corev1.ServiceExternalTrafficPolicyCluster)))
	s.startOperator()
	s.waitUntilReady(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyCluster))
	s.patchObject(s.getService("web"), "mallory", `{"spec":{"externalTrafficPolicy":"Local"}}`)
	s.Eventually(s.externalTrafficPolicy("web")).Should(Equal(corev1.ServiceExternalTrafficPolicyCluster))
	s.Eventually(s.lastDrift(s.name)).Should(HaveField("Name", "web"))
	s.deletePolicy(s.name)
	s.Expect(s.externalTrafficPolicy("web")()).To(Equal(corev1.ServiceExternalTrafficPolicyLocal), "the original is restored")
}

// Restoring is abandoned after some refusals by the API server, and the status reports so.
func TestFailedRestoreDelaysNoDeletionForever(t *testing.T) {
	s := beginStory(t)
	s.createNodes(1)
	web := testbed.Service(s.name, "web", corev1.ServiceTypeClusterIP, testbed.ServiceLabels(s.storyLabels()))
	web.Spec.TrafficDistribution = ptr.To("PreferClose")
	policy := s.onlyServices(func(p *v1alpha1.ServiceTrafficPolicy) { p.TrafficDistribution = "PreferSameNode" })
	s.createObjects(web, policy)
	s.startOperator()
	s.waitUntilReady(s.name)
	s.refuseValue("PreferClose")
	s.deletePolicy(s.name)
	s.Eventually(s.eventsOf(s.name)).Should(ContainElement(And(HaveField("Reason", "NotRestored"),
		HaveField("Note", ContainSubstring("Service/"+s.name+"/web trafficDistribution could not be restored")))))
	s.Expect(s.getService("web").Annotations).NotTo(HaveKey(v1alpha1.AnnotationRecord))
}
