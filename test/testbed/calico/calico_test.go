// SPDX-License-Identifier: Apache-2.0

package calico_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"github.com/go-logr/logr"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/cpnp-dev/cpnp-operator/test/testbed"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

const (
	deadline = 30 * time.Second
	interval = 20 * time.Millisecond
)

func TestMain(m *testing.M) {
	ctrllog.SetLogger(logr.Discard())
	if os.Getenv(helperVariable) != "" {
		os.Exit(runHelper())
	}
	os.Exit(m.Run())
}

// bed is a control plane with a Calico.
type bed struct {
	cp     *testbed.ControlPlane
	calico *calico.Calico
	client client.Client
}

func startBed(t *testing.T, o calico.Options) *bed {
	t.Helper()
	g, begin := NewWithT(t), time.Now()
	cp, err := testbed.Start(t.Context(), testbed.Options{Aggregation: o.Mode != calico.Native})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(cp.Stop()).To(Succeed()) })
	t.Logf("control plane in %s", time.Since(begin).Round(time.Millisecond))

	begin = time.Now()
	c, err := calico.Start(t.Context(), cp, o)
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(c.Stop()).To(Succeed()) })
	t.Logf("Calico in %s", time.Since(begin).Round(time.Millisecond))

	admin, err := client.New(cp.Config, client.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	return &bed{cp: cp, calico: c, client: admin}
}

// TestAggregated runs one Calico with its own API server, and clusters on this Calico.
func TestAggregated(t *testing.T) {
	b := startBed(t, calico.Options{})
	// The tests run in any order, so each removes objects that other tests would notice.
	for name, test := range map[string]func(*testing.T, *bed){
		"objects":                 acceptsObjects,
		"informers":               fillsInformers,
		"rendering iptables":      func(t *testing.T, b *bed) { enforcesRendering(t, b, calico.IPTables) },
		"rendering nftables":      func(t *testing.T, b *bed) { enforcesRendering(t, b, calico.NFTables) },
		"IPv6 off":                leavesIPv6Unfiltered,
		"locked out iptables":     func(t *testing.T, b *bed) { survivesLockout(t, b, calico.IPTables) },
		"locked out nftables":     func(t *testing.T, b *bed) { survivesLockout(t, b, calico.NFTables) },
		"automatic host endpoint": createsAutomaticEndpoints,
	} {
		t.Run(name, func(t *testing.T) { test(t, b) })
	}
	t.Run("gone", func(t *testing.T) { unregistersAPI(t, b) })
}

// TestNative: the v3 kinds as plain CRDs accept the same objects.
func TestNative(t *testing.T) {
	b := startBed(t, calico.Options{Mode: calico.Native})
	t.Run("objects", func(t *testing.T) { acceptsObjects(t, b) })
	t.Run("informers", func(t *testing.T) { fillsInformers(t, b) })
}

// acceptsObjects checks that the operator can rely on server-side apply, and on the objects
// of every installation.
func acceptsObjects(t *testing.T, b *bed) {
	g := NewWithT(t)
	for _, object := range append(b.applyFile(t, "testdata/rendering.yaml"), b.applyFile(t, "testdata/failsafe.yaml")...) {
		g.Expect(object.GetResourceVersion()).NotTo(BeEmpty())
		g.Expect(object.GetNamespace()).To(BeEmpty())
		g.Expect(object.GetManagedFields()).NotTo(BeEmpty(), object.GetName())
	}
	tiers := listOf("Tier")
	g.Expect(b.client.List(t.Context(), tiers)).To(Succeed())
	g.Expect(len(tiers.Items)).To(Equal(4), "three by default")

	information := listOf("ClusterInformation")
	g.Expect(b.client.List(t.Context(), information)).To(Succeed())
	g.Expect(information.Items).To(HaveLen(1))
	ready, _, err := unstructured.NestedBool(information.Items[0].Object, "spec", "datastoreReady")
	g.Expect(ready, err).To(BeTrue())
}

// fillsInformers: a cache of each watched kind fills, and receives changes.
func fillsInformers(t *testing.T, b *bed) {
	g, begin := NewWithT(t), time.Now()
	config := rest.CopyConfig(b.cp.Config)
	clients, err := dynamic.NewForConfig(config)
	g.Expect(err).NotTo(HaveOccurred())
	factory := dynamicinformer.NewDynamicSharedInformerFactory(clients, 0)
	for _, resource := range []string{"hostendpoints", "globalnetworkpolicies", "globalnetworksets", "tiers", "felixconfigurations"} {
		factory.ForResource(resourceOf(resource))
	}
	factory.Start(t.Context().Done())
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	for resource, synced := range factory.WaitForCacheSync(ctx.Done()) {
		g.Expect(synced).To(BeTrue(), resource.Resource)
	}
	t.Logf("informers in %s", time.Since(begin).Round(time.Millisecond))

	// On Calico's API server, a new tier ends the watches of policies: the informer of
	// policies must start again.
	b.applyFile(t, "testdata/rendering.yaml")
	for resource, name := range map[string]string{"hostendpoints": "cpnp-cp-1", "globalnetworkpolicies": "cpnp.canary"} {
		begin = time.Now()
		lister := factory.ForResource(resourceOf(resource)).Lister()
		g.Eventually(func() error { _, err := lister.Get(name); return err }, deadline, interval).Should(Succeed())
		t.Logf("%s heard of after %s", resource, time.Since(begin).Round(time.Millisecond))
	}
}

// unregistersAPI: after Stop the API is gone.
func unregistersAPI(t *testing.T, b *bed) {
	g := NewWithT(t)
	g.Expect(b.calico.Stop()).To(Succeed())
	g.Eventually(func() error { return b.client.List(t.Context(), listOf("Tier")) }, deadline, interval).ShouldNot(Succeed())
	g.Expect(b.calico.Stop()).To(Succeed())
}

func resourceOf(resource string) schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "projectcalico.org", Version: "v3", Resource: resource}
}

func listOf(kind string) *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetAPIVersion("projectcalico.org/v3")
	list.SetKind(kind + "List")
	return list
}

// applyFile applies the objects of a file, and deletes these objects when the test ends.
func (b *bed) applyFile(t *testing.T, path string) []*unstructured.Unstructured {
	t.Helper()
	g := NewWithT(t)
	content, err := os.ReadFile(path)
	g.Expect(err).NotTo(HaveOccurred())
	decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(content), 4096)
	var applied []*unstructured.Unstructured
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return applied
		} else if err != nil {
			t.Fatal(err)
		}
		g.Expect(b.client.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(object),
			client.FieldOwner("test"), client.ForceOwnership)).To(Succeed())
		t.Cleanup(func() { b.removeObject(t, object) })
		applied = append(applied, object)
	}
}

// removeObject runs after the context of the test has ended.
func (b *bed) removeObject(t *testing.T, object client.Object) {
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	if err := b.client.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
		t.Errorf("delete %s: %v", object.GetName(), err)
	}
}
