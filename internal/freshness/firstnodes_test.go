// SPDX-License-Identifier: Apache-2.0

package freshness

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/cpnp-dev/cpnp-operator/internal/timing"
)

func nodesAt(versions map[string]string) []*corev1.Node {
	var nodes []*corev1.Node
	for name, version := range versions {
		nodes = append(nodes, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: version}})
	}
	return nodes
}

func TestTheCacheHasToShowTheFirstNodes(t *testing.T) {
	var (
		f     FirstNodes
		there = map[string]string{"a": "10", "b": "12"}
		fails error
		asked int
		now   = time.Now()
	)
	isStale := func(cached map[string]string) bool {
		is, err := f.Behind(t.Context(), nodesAt(cached), func(context.Context) (map[string]string, error) {
			asked++
			versions := map[string]string{}
			for name, version := range there {
				versions[name] = version
			}
			return versions, fails
		}, now)
		NewWithT(t).Expect(err != nil).To(Equal(fails != nil))
		return is
	}
	g := NewWithT(t)
	fails = errors.New("no answer")
	g.Expect(isStale(there)).To(BeTrue(), "the cache's nodes are unknown")
	fails = nil
	g.Expect(isStale(map[string]string{"a": "10"})).To(BeTrue(), "a node is missing")
	g.Expect(isStale(map[string]string{"a": "10", "b": "9"})).To(BeTrue(), "a node is older")
	g.Expect(asked).To(Equal(2))
	delete(there, "b")
	now = now.Add(timing.AskAgain)
	g.Expect(isStale(map[string]string{"a": "11"})).To(BeFalse(), "the missing node was deleted")
	g.Expect(isStale(nil)).To(BeFalse(), "the cache does not become older")
	g.Expect(asked).To(Equal(3))
}
