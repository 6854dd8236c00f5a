// SPDX-License-Identifier: Apache-2.0

package testbed_test

import (
	"testing"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
)

var widgets = schema.GroupVersionKind{Group: "testbed.cpnp.dev", Version: "v1", Kind: "WidgetList"}

func auditCounts(t *testing.T, cp *testbed.ControlPlane) {
	g, ctx := NewWithT(t), t.Context()
	config, err := cp.AddUser("alice", testbed.Masters)
	g.Expect(err).NotTo(HaveOccurred())
	config.UserAgent = "audit-test"
	c, err := client.New(config, client.Options{})
	g.Expect(err).NotTo(HaveOccurred())

	mark, err := cp.Audit().Mark()
	g.Expect(err).NotTo(HaveOccurred())
	object := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "one"}}
	g.Expect(c.Create(ctx, object)).To(Succeed())
	g.Expect(c.Get(ctx, client.ObjectKeyFromObject(object), object)).To(Succeed())
	g.Expect(c.Update(ctx, object, client.DryRunAll)).To(Succeed())

	events := eventsOf(g, cp, mark, "alice")
	g.Expect(len(events)).To(BeNumerically(">=", 3))
	var writes []testbed.AuditEvent
	for _, event := range events {
		if event.Mutating() {
			writes = append(writes, event)
		}
	}
	g.Expect(writes).To(HaveLen(1))
	g.Expect(writes[0].Succeeded()).To(BeTrue())
	g.Expect(writes[0].Time.IsZero()).To(BeFalse())
	g.Expect(writes[0]).To(And(
		HaveField("Verb", "create"), HaveField("Resource", "configmaps"), HaveField("Group", ""),
		HaveField("Namespace", "default"), HaveField("Name", "one"), HaveField("Code", 201),
		HaveField("UserAgent", "audit-test")))

	// Requests from before a mark are left out, and a refused write counts too.
	mark, err = cp.Audit().Mark()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(c.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "one"}})).NotTo(Succeed())
	events = eventsOf(g, cp, mark, "alice")
	g.Expect(events).To(HaveLen(1))
	g.Expect(events[0].Mutating()).To(BeTrue())
	g.Expect(events[0].Succeeded()).To(BeFalse())
}

func auditCountsWatch(t *testing.T, cp *testbed.ControlPlane) {
	g := NewWithT(t)
	config, err := cp.AddUser("watcher", testbed.Masters)
	g.Expect(err).NotTo(HaveOccurred())
	mark, err := cp.Audit().Mark()
	g.Expect(err).NotTo(HaveOccurred())

	watches := func(g Gomega) []testbed.AuditEvent {
		var found []testbed.AuditEvent
		for _, event := range eventsOf(g, cp, mark, "watcher") {
			if event.Verb == "watch" {
				found = append(found, event)
			}
		}
		return found
	}
	open := openWatch(t, config)
	g.Expect(watches(g)).To(HaveLen(1), "while the watch lasts")
	open.Stop()
	g.Consistently(watches, "300ms", interval).Should(HaveLen(1), "after its end")
}

func eventsOf(g Gomega, cp *testbed.ControlPlane, mark testbed.Mark, user string) []testbed.AuditEvent {
	events, err := cp.Audit().Since(mark)
	g.Expect(err).NotTo(HaveOccurred())
	var found []testbed.AuditEvent
	for _, event := range events {
		if event.User == user {
			found = append(found, event)
		}
	}
	return found
}

func openWatch(t *testing.T, config *rest.Config) watch.Interface {
	t.Helper()
	c, err := client.NewWithWatch(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	open, err := c.Watch(t.Context(), &corev1.ConfigMapList{})
	if err != nil {
		t.Fatal(err)
	}
	return open
}

func TestAuditIsOff(t *testing.T) {
	g := NewWithT(t)
	_, err := (&testbed.ControlPlane{}).Audit().Mark()
	g.Expect(err).To(MatchError(ContainSubstring("AuditLog")))
}

func TestMutating(t *testing.T) {
	tests := map[string]struct {
		event testbed.AuditEvent
		want  bool
	}{
		"create":        {testbed.AuditEvent{Verb: "create", Resource: "pods"}, true},
		"status":        {testbed.AuditEvent{Verb: "patch", Resource: "nodes", Subresource: "status"}, true},
		"refused":       {testbed.AuditEvent{Verb: "update", Code: 409}, true},
		"read":          {testbed.AuditEvent{Verb: "list"}, false},
		"dry run":       {testbed.AuditEvent{Verb: "patch", URI: "/api/v1/nodes/a?dryRun=All&fieldManager=x"}, false},
		"access review": {testbed.AuditEvent{Verb: "create", Group: "authorization.k8s.io"}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			NewWithT(t).Expect(test.event.Mutating()).To(Equal(test.want))
		})
	}
}
