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
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/cpnp-dev/cpnp-operator/api/v1alpha1"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

// argo writes an object as Argo CD does, as it is in git, and puts it back when it
// is not so any more: what it compares is what git declares.
type argo struct {
	*story
	// mode is how it writes.
	mode argoMode
	// git is what is declared: an object with kind, name, labels and spec.
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

// inGit returns an object as it is in git.
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

func (a argo) live(ctx context.Context) (*unstructured.Unstructured, error) {
	live := &unstructured.Unstructured{}
	live.SetGroupVersionKind(a.git.GroupVersionKind())
	return live, admin.Get(ctx, client.ObjectKeyFromObject(a.git), live)
}

// sync writes the object, which may not be there yet.
func (a argo) sync(ctx context.Context) error {
	if a.mode == serverSide {
		return admin.Apply(ctx, client.ApplyConfigurationFromUnstructured(a.git.DeepCopy()), client.FieldOwner(argoManager), client.ForceOwnership)
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
	live, err := a.live(ctx)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return err
	case err != nil:
		return admin.Create(ctx, desired, client.FieldOwner(argoManager))
	case a.mode == clientSide:
		body, err := json.Marshal(desired.Object)
		if err != nil {
			return err
		}
		return admin.Patch(ctx, live, client.RawPatch(types.MergePatchType, body), client.FieldOwner(argoManager))
	}
	return a.put(ctx, desired, live)
}

// put replaces an object. A node is one that others need as well: of it only what
// is in git is replaced, and what the operator has put on record goes.
func (a argo) put(ctx context.Context, desired, live *unstructured.Unstructured) error {
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
	return admin.Update(ctx, desired, client.FieldOwner(argoManager))
}

// outOfSync says whether something that git declares is not so. Taints that
// Kubernetes sets by itself are left out.
func (a argo) outOfSync(live *unstructured.Unstructured) bool {
	spec, _ := live.Object["spec"].(map[string]any)
	if taints, there := spec["taints"].([]any); there {
		spec["taints"] = slices.DeleteFunc(taints, func(taint any) bool {
			key, _, _ := unstructured.NestedString(taint.(map[string]any), "key")
			return strings.HasPrefix(key, "node.kubernetes.io/")
		})
	}
	return !within(a.git.Object["spec"], live.Object["spec"])
}

// within says whether all that is wanted is there. Lists are as long, and what they
// have may have more fields.
func within(want, is any) bool {
	if items, list := want.([]any); list {
		there, _ := is.([]any)
		for i := range items {
			if len(there) != len(items) || !within(items[i], there[i]) {
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
		if !ok || !within(value, there[key]) {
			return false
		}
	}
	return true
}

// heals puts the object back whenever it is out of sync, after waiting, as Argo CD
// does, three times as long each time: here a hundredth of it. It is stopped when
// the test ends, if not before; rounds counts what it wrote.
func (a argo) heals() (stop func(), rounds func() int) {
	ctx, cancel := context.WithCancel(a.ctx)
	done, count := make(chan struct{}), 0
	var mu sync.Mutex
	go func() {
		defer close(done)
		wait := 20 * time.Millisecond
		for ctx.Err() == nil {
			live, err := a.live(ctx)
			if err != nil || !a.outOfSync(live) {
				pause(ctx, tick)
				continue
			}
			pause(ctx, wait)
			if err := a.sync(ctx); err != nil {
				continue // somebody was faster: it looks again
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

// pause waits, but not longer than the context lasts.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// samples watches a policy's Ready, and returns what it has been since the last
// time it was asked: "Status/Reason", each once.
func (s *story) samples() func() []string {
	ctx, cancel := context.WithCancel(s.ctx)
	done, seen := make(chan struct{}), map[string]bool{}
	var mu sync.Mutex
	go func() {
		defer close(done)
		for ; ctx.Err() == nil; pause(ctx, tick) {
			policy := &v1alpha1.ControlPlaneNetworkPolicy{}
			if admin.Get(ctx, client.ObjectKey{Name: s.name}, policy) != nil {
				continue
			}
			for _, c := range policy.Status.Conditions {
				if c.Type == v1alpha1.ConditionReady {
					mu.Lock()
					seen[string(c.Status)+"/"+c.Reason] = true
					mu.Unlock()
				}
			}
		}
	}()
	s.t.Cleanup(func() { cancel(); <-done })
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		var all []string
		for is := range seen {
			all = append(all, is)
		}
		clear(seen)
		return all
	}
}
