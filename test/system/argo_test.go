// SPDX-License-Identifier: Apache-2.0

package system

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// argo writes an object from git as Argo CD does, and restores the object whenever a field
// that git declares differs.
type argo struct {
	*story
	// mode is the way of writing.
	mode argoMode
	// git is the declared object, with kind, name, labels and spec.
	git *unstructured.Unstructured
}

type argoMode string

const (
	clientSide argoMode = "client" // the default: an Update that leaves a copy
	serverSide argoMode = "server"
	replace    argoMode = "replace" // an Update of the whole object
)

var argoModes = []argoMode{clientSide, serverSide, replace}

const argoManager = "argocd-controller"

// inGit returns an object in git.
func (s *story) inGit(mode argoMode, apiVersion, kind, name string, labels, spec map[string]any) argo {
	object := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	object.SetAPIVersion(apiVersion)
	object.SetKind(kind)
	object.SetName(name)
	if kind != "Node" {
		object.SetNamespace(s.name)
	}
	s.Expect(unstructured.SetNestedMap(object.Object, labels, "metadata", "labels")).To(Succeed())
	group, _, grouped := strings.Cut(apiVersion, "/")
	if !grouped {
		group = ""
	}
	object.SetAnnotations(map[string]string{
		state.AnnotationArgoTracking: "shop:" + group + "/" + kind + ":" + s.name + "/" + name,
	})
	return argo{story: s, mode: mode, git: object}
}

func (a argo) getLive(ctx context.Context) (*unstructured.Unstructured, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(a.git.GroupVersionKind())
	return live, a.admin.Get(ctx, client.ObjectKeyFromObject(a.git), live)
}

// syncOnce writes the object, also if another component changes the object meanwhile: a
// controller may still complete a new Node.
func (a argo) syncOnce(ctx context.Context) error {
	return retryConflicts(func() error { return a.trySync(ctx) })
}

// trySync writes the object, which may not exist yet. In mode replace, a write in between is
// a conflict.
func (a argo) trySync(ctx context.Context) error {
	if a.mode == serverSide {
		return a.admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(a.git.DeepCopy()), client.FieldOwner(argoManager), client.ForceOwnership)
	}
	desired := a.git.DeepCopy()
	if a.mode == clientSide {
		text, err := json.Marshal(desired.Object)
		if err != nil {
			return err
		}
		annotations := desired.GetAnnotations()
		annotations[corev1.LastAppliedConfigAnnotation] = string(text)
		desired.SetAnnotations(annotations)
	}
	live, err := a.getLive(ctx)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return err
	case err != nil:
		return a.admin.Create(ctx, desired, client.FieldOwner(argoManager))
	case a.mode == clientSide:
		body, err := json.Marshal(desired.Object)
		if err != nil {
			return err
		}
		return a.admin.Patch(ctx, live, client.RawPatch(types.MergePatchType, body), client.FieldOwner(argoManager))
	}
	return a.replaceObject(ctx, desired, live)
}

// replaceObject replaces an object. Other components need Node objects too: of a Node, only
// the fields in git are replaced, and the operator's annotations are removed.
func (a argo) replaceObject(ctx context.Context, desired, live *unstructured.Unstructured) error {
	desired.SetResourceVersion(live.GetResourceVersion())
	if desired.GetKind() == "Node" {
		desired.Object["status"] = live.Object["status"]
		labels, annotations := live.GetLabels(), live.GetAnnotations()
		maps.Copy(labels, desired.GetLabels())
		maps.Copy(annotations, desired.GetAnnotations())
		delete(annotations, v1alpha1.AnnotationRecord)
		desired.SetLabels(labels)
		desired.SetAnnotations(annotations)
		spec, _ := live.Object["spec"].(map[string]any)
		maps.Copy(spec, desired.Object["spec"].(map[string]any))
		desired.Object["spec"] = spec
	}
	return a.admin.Update(ctx, desired, client.FieldOwner(argoManager))
}

// outOfSync tells whether a field that git declares differs. Kubernetes' own taints are
// left out.
func (a argo) outOfSync(live *unstructured.Unstructured) bool {
	spec, _ := live.Object["spec"].(map[string]any)
	if taints, there := spec["taints"].([]any); there {
		spec["taints"] = slices.DeleteFunc(taints, func(taint any) bool {
			key, _, _ := unstructured.NestedString(taint.(map[string]any), "key")
			return strings.HasPrefix(key, "node.kubernetes.io/")
		})
	}
	return !isContained(a.git.Object["spec"], live.Object["spec"])
}

// isContained tells whether all wanted values exist. Lists must have the same length, and
// their items may have more fields.
func isContained(want, is any) bool {
	if items, list := want.([]any); list {
		there, _ := is.([]any)
		for i := range items {
			if len(there) != len(items) || !isContained(items[i], there[i]) {
				return false
			}
		}
		return true
	}
	fields, ok := want.(map[string]any)
	if !ok {
		a, errA := json.Marshal(want)
		b, errB := json.Marshal(is)
		return errA == nil && errB == nil && string(a) == string(b)
	}
	there, ok := is.(map[string]any)
	for key, value := range fields {
		if !ok || !isContained(value, there[key]) {
			return false
		}
	}
	return true
}

// startHealing restores the object whenever the object is out of sync. As in Argo CD, each
// wait is three times as long as the last wait: here a hundredth of Argo CD's waits.
// Healing stops when the test ends, or before by stop; rounds counts the writes.
func (a argo) startHealing() (stop func(), rounds func() int) {
	ctx, cancel := context.WithCancel(a.ctx)
	done, count := make(chan struct{}), 0
	var mu sync.Mutex
	go func() {
		defer close(done)
		wait := 20 * time.Millisecond
		for ctx.Err() == nil {
			live, err := a.getLive(ctx)
			if err != nil || !a.outOfSync(live) {
				waitFor(ctx, tick)
				continue
			}
			waitFor(ctx, wait)
			if err := a.trySync(ctx); err != nil {
				continue // another writer was faster: compare again
			}
			wait = min(3*wait, 3*time.Second)
			mu.Lock()
			count++
			mu.Unlock()
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	a.t.Cleanup(stop)
	return stop, func() int { mu.Lock(); defer mu.Unlock(); return count }
}

// waitFor waits, but not longer than the context lasts.
func waitFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// startSampling reads a policy's Ready condition again and again, and returns a function to
// list all values since the last call: "Status/Reason", without repetitions. A value that
// was being read during that call belongs to neither list, since it may be older.
func (s *story) startSampling() func() []string {
	ctx, cancel := context.WithCancel(s.ctx)
	done, seen, lists := make(chan struct{}), map[string]bool{}, 0
	var mu sync.Mutex
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; waitFor(ctx, tick) {
			mu.Lock()
			began := lists
			mu.Unlock()
			policy := &v1alpha1.ControlPlaneNetworkPolicy{}
			if s.admin.Get(ctx, client.ObjectKey{Name: s.name}, policy) != nil {
				continue
			}
			mu.Lock()
			if c := meta.FindStatusCondition(policy.Status.Conditions, v1alpha1.ConditionReady); c != nil && began == lists {
				seen[string(c.Status)+"/"+c.Reason] = true
			}
			mu.Unlock()
		}
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		all := slices.Collect(maps.Keys(seen))
		clear(seen)
		lists++
		return all
	}
}
