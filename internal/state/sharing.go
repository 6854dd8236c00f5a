// SPDX-License-Identifier: Apache-2.0

package state

import (
	"hash/maphash"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// Most objects in a cache have equal parts: the keys of labels, the labels of the pods of
// one DaemonSet, the record of the operator, the manager of a field. Every decoded object
// has a copy of these parts, and the copies would be half of the memory of the caches. So
// equal parts of cached objects share memory, which must not be changed.

// maxShared bounds the number of remembered parts of one sort, and maxSharedSize bounds the
// size of a part, in bytes: others choose most of the parts. A full memory starts anew.
const (
	maxShared     = 8192
	maxSharedSize = 1024
)

// sharedParts remembers one part for each hash. Parts with the hash of another part are not
// shared.
type sharedParts[T any] struct {
	mu    sync.Mutex
	known map[uint64]T
	equal func(a, b T) bool
}

// share returns the remembered part that equals the part, and remembers a new part.
func (s *sharedParts[T]) share(hash uint64, part T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, found := s.known[hash]
	switch {
	case found && s.equal(known, part):
		return known
	case found:
		return part
	case s.known == nil || len(s.known) >= maxShared:
		s.known = map[uint64]T{}
	}
	s.known[hash] = part
	return part
}

var (
	sharedTexts      = sharedParts[string]{equal: func(a, b string) bool { return a == b }}
	sharedPointers   = sharedParts[*string]{equal: samePointed[string]}
	sharedInternal   = sharedParts[*corev1.ServiceInternalTrafficPolicy]{equal: samePointed[corev1.ServiceInternalTrafficPolicy]}
	sharedMaps       = sharedParts[map[string]string]{equal: maps.Equal[map[string]string, map[string]string]}
	sharedFields     = sharedParts[*metav1.FieldsV1]{equal: func(a, b *metav1.FieldsV1) bool { return a.Equal(*b) }}
	sharedTaints     = sharedParts[[]corev1.Taint]{equal: slices.Equal[[]corev1.Taint]}
	sharedConditions = sharedParts[[]corev1.NodeCondition]{equal: func(a, b []corev1.NodeCondition) bool { return a[0] == b[0] }}
	sharedPorts      = sharedParts[[]discoveryv1.EndpointPort]{equal: func(a, b []discoveryv1.EndpointPort) bool {
		return slices.EqualFunc(a, b, samePort)
	}}
	sharedManagers = sharedParts[[]metav1.ManagedFieldsEntry]{equal: func(a, b []metav1.ManagedFieldsEntry) bool {
		return slices.EqualFunc(a, b, sameManager)
	}}
	hashSeed = maphash.MakeSeed()
)

func hashOf(texts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(hashSeed)
	for _, text := range texts {
		_, _ = h.WriteString(text)
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

func shareText[T ~string](text T) T {
	if len(text) == 0 || len(text) > maxSharedSize {
		return text
	}
	return T(sharedTexts.share(maphash.String(hashSeed, string(text)), string(text)))
}

func samePointed[T comparable](a, b *T) bool { return *a == *b }

func sharePointer[T ~string](with *sharedParts[*T], text *T) *T {
	if text == nil || len(*text) > maxSharedSize {
		return text
	}
	return with.share(maphash.String(hashSeed, string(*text)), text)
}

// shareMap returns the map that objects with the same content share.
func shareMap(m map[string]string) map[string]string {
	size, hash := 0, uint64(0)
	for key, value := range m {
		size += len(key) + len(value)
		hash += hashOf(key, value) // in any order
	}
	if size == 0 || size > maxSharedSize {
		return m
	}
	return sharedMaps.share(hash, m)
}

// shareTexts returns a map whose keys and values share memory: for maps that differ in
// every object, such as the labels of a node.
func shareTexts(m map[string]string) map[string]string {
	if len(m) == 0 {
		return m
	}
	shared := make(map[string]string, len(m))
	for key, value := range m {
		shared[shareText(key)] = shareText(value)
	}
	return shared
}

// shareManagers lets the entries share their texts and fields.
func shareManagers(entries []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	for i := range entries {
		e := &entries[i]
		e.Manager, e.Operation = shareText(e.Manager), shareText(e.Operation)
		e.APIVersion, e.FieldsType = shareText(e.APIVersion), shareText(e.FieldsType)
		if e.FieldsV1 != nil && e.FieldsV1.Size() <= maxSharedSize {
			e.FieldsV1 = sharedFields.share(hashOf(e.FieldsV1.GetRawString()), e.FieldsV1)
		}
	}
	if len(entries) != 1 || entries[0].FieldsV1 == nil {
		return slices.Clip(entries)
	}
	entries[0].Time = nil // only tells the last of several managers
	e := &entries[0]
	hash := hashOf(e.Manager, string(e.Operation), e.APIVersion, e.FieldsType, e.FieldsV1.GetRawString())
	return sharedManagers.share(hash, slices.Clip(entries))
}

func sameManager(a, b metav1.ManagedFieldsEntry) bool {
	return a.Manager == b.Manager && a.Operation == b.Operation && a.APIVersion == b.APIVersion && a.FieldsType == b.FieldsType &&
		a.Subresource == b.Subresource && a.Time.Equal(b.Time) && a.FieldsV1.Equal(*b.FieldsV1)
}

// shareTaints returns the taints that nodes with the same taints share.
func shareTaints(taints []corev1.Taint) []corev1.Taint {
	var texts []string
	for _, t := range taints {
		if t.TimeAdded != nil || len(texts) > maxSharedSize/16 { // of this node alone
			return taints
		}
		texts = append(texts, t.Key, t.Value, string(t.Effect))
	}
	if len(texts) == 0 {
		return taints
	}
	return sharedTaints.share(hashOf(texts...), taints)
}

// readiness returns the condition Ready of a status, and nothing more.
func readiness(status corev1.ConditionStatus) []corev1.NodeCondition {
	return sharedConditions.share(hashOf(string(status)), []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}})
}

// sharePorts returns the ports that slices with the same ports share.
func sharePorts(ports []discoveryv1.EndpointPort) []discoveryv1.EndpointPort {
	var texts []string
	for _, p := range ports {
		number := uint32(ptr.Deref(p.Port, 0))
		texts = append(texts, ptr.Deref(p.Name, ""), string(ptr.Deref(p.Protocol, "")),
			string([]byte{byte(number), byte(number >> 8), byte(number >> 16)}))
	}
	if len(texts) == 0 {
		return ports
	}
	return sharedPorts.share(hashOf(texts...), ports)
}

func samePort(a, b discoveryv1.EndpointPort) bool {
	return ptr.Equal(a.Name, b.Name) && ptr.Equal(a.Protocol, b.Protocol) && ptr.Equal(a.Port, b.Port) &&
		ptr.Equal(a.AppProtocol, b.AppProtocol)
}
