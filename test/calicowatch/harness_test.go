// SPDX-License-Identifier: Apache-2.0

package calicowatch

import (
	"context"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	served "github.com/cpnp-dev/cpnp-operator/internal/backend/calico"
	"github.com/cpnp-dev/cpnp-operator/internal/backend/calico/follow"
	"github.com/cpnp-dev/cpnp-operator/internal/options"
	"github.com/cpnp-dev/cpnp-operator/test/testbed/calico"
)

// following is a running follower, with the number of its notifications.
type following struct {
	*follow.Follower
	t       *testing.T
	changes atomic.Int64
}

// followers is the number of running followers.
var followers int

// startFollower starts a follower, which must end in order when the test ends.
func startFollower(t *testing.T, patience time.Duration) *following {
	t.Helper()
	return followWith(t, follow.Options{Patience: patience})
}

// followWith starts a follower with other options.
func followWith(t *testing.T, o follow.Options) *following {
	t.Helper()
	g := NewWithT(t)
	f := &following{t: t}
	o.Changed = func() { f.changes.Add(1) }
	var err error
	f.Follower, err = follow.NewFollower(options.UnthrottledConfig(userConfig), o)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(f.Read().Mode).To(Equal(served.Undetected))
	g.Expect(f.Read().Problem).NotTo(BeEmpty(), "a new follower has no problem")

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	followers++
	go func() { ended <- f.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		g.Eventually(ended, 5*time.Second).Should(Receive(BeNil()))
		if followers--; followers == 0 {
			g.Eventually(followerGoroutines, 5*time.Second, interval).Should(BeEmpty())
		}
	})
	return f
}

// followerGoroutines returns the goroutines of running followers.
func followerGoroutines() []string {
	stacks := make([]byte, 1<<22)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(stack, "internal/backend/calico/follow.(*reading)") || strings.Contains(stack, "cache.(*Reflector)") {
			found = append(found, stack)
		}
	}
	return found
}

// waitForMode waits for a mode, and for a problem with all of the texts; without texts, for
// no problem.
func (f *following) waitForMode(mode served.Mode, problem ...string) served.Live {
	f.t.Helper()
	NewWithT(f.t).Eventually(func(g Gomega) {
		c := f.Read()
		g.Expect(c.Mode).To(Equal(mode), c.Problem)
		if len(problem) == 0 {
			g.Expect(c.Problem).To(BeEmpty())
		}
		for _, text := range problem {
			g.Expect(c.Problem).To(ContainSubstring(text))
		}
	}, deadline, interval).Should(Succeed())
	return f.Read()
}

// installCRDs installs only the CRDs of a mode of Calico.
func installCRDs(t *testing.T, mode calico.Mode) {
	t.Helper()
	NewWithT(t).Expect(calico.InstallCRDs(t.Context(), cluster, mode)).To(Succeed())
}

func installFrom(t *testing.T, path string) {
	t.Helper()
	_, err := envtest.InstallCRDs(cluster.Config, envtest.CRDInstallOptions{
		Paths: []string{path}, ErrorIfPathMissing: true, MaxTime: deadline,
	})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
}

// startStub serves a stub until the test ends.
func startStub(t *testing.T, endless string) *calico.Stub {
	t.Helper()
	uninstallAfter(t)
	s, err := calico.StartStub(t.Context(), cluster, endless)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { NewWithT(t).Expect(s.Stop()).To(Succeed()) })
	return s
}

// startCalico starts a Calico until the test ends.
func startCalico(t *testing.T, mode calico.Mode) *calico.Calico {
	t.Helper()
	uninstallAfter(t)
	c, err := calico.Start(t.Context(), cluster, calico.Options{Mode: mode})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { NewWithT(t).Expect(c.Stop()).To(Succeed()) })
	return c
}

// uninstallAfter removes Calico from the cluster when the test ends.
func uninstallAfter(t *testing.T) { t.Cleanup(func() { uninstallCalico(t) }) }

func uninstallCalico(t *testing.T) {
	t.Helper()
	NewWithT(t).Expect(calico.Uninstall(context.Background(), cluster)).To(Succeed())
}

func crdNamed(name string) *apiextensionsv1.CustomResourceDefinition {
	return &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func apiService(name string, spec map[string]any) *unstructured.Unstructured {
	service := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	service.SetAPIVersion("apiregistration.k8s.io/v1")
	service.SetKind("APIService")
	service.SetName(name)
	return service
}

// namesOf returns the names of objects, in their order.
func namesOf[T any, P interface {
	*T
	client.Object
}](objects []T) []string {
	var names []string
	for i := range objects {
		names = append(names, P(&objects[i]).GetName())
	}
	return names
}
