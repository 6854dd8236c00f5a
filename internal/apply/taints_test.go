// SPDX-License-Identifier: Apache-2.0

package apply_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/cpnp-dev/cpnp-operator/internal/apply"
	"github.com/cpnp-dev/cpnp-operator/internal/state"
)

func TestTaintsAreMergedIntoTheList(t *testing.T) {
	taint := func(key, value string, effect corev1.TaintEffect) corev1.Taint {
		return corev1.Taint{Key: key, Value: value, Effect: effect}
	}
	a, b, c := taint("a", "1", "NoSchedule"), taint("b", "", "NoExecute"), taint("c", "3", "NoSchedule")
	dated := b
	dated.TimeAdded = &metav1.Time{Time: time.Unix(1, 0)}
	type taints = []corev1.Taint
	type set = map[string]*string
	tests := map[string]struct {
		live taints
		set  set
		want taints
	}{
		"A new taint comes last":                            {taints{a, b}, set{"c:NoSchedule": ptr.To("3")}, taints{a, b, c}},
		"New taints come in the order of their names":       {nil, set{"c:NoSchedule": ptr.To("3"), "a:NoSchedule": ptr.To("1")}, taints{a, c}},
		"A taint with another value stays in its place":     {taints{a, b, c}, set{"a:NoSchedule": ptr.To("9")}, taints{taint("a", "9", "NoSchedule"), b, c}},
		"A taint is removed":                                {taints{a, b, c}, set{"b:NoExecute": nil}, taints{a, c}},
		"A missing taint is not removed":                    {taints{a}, set{"b:NoExecute": nil}, taints{a}},
		"Removal of the last taint leaves an empty list":    {taints{a}, set{"a:NoSchedule": nil}, taints{}},
		"The same key with another effect is another taint": {taints{a}, set{"a:NoExecute": ptr.To("1")}, taints{a, taint("a", "1", "NoExecute")}},
		"A taint keeps the time when it was added":          {taints{dated}, set{"c:NoSchedule": ptr.To("3")}, taints{dated, c}},
		"An empty change leaves every taint":                {taints{c, a}, nil, taints{c, a}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, apply.MergeTaints(test.live, test.set)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestTaintsOfOthersSurvive tries random lists and changes, the same ones in every
// run. Taints outside of the change stay as they were, in their order. A taint of
// the change has its value afterwards, or is missing. No other taint appears.
func TestTaintsOfOthersSurvive(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	effects := []corev1.TaintEffect{corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute}
	var all []string
	for key := range 5 {
		for _, effect := range effects {
			all = append(all, state.TaintField(fmt.Sprint("key-", key), effect))
		}
	}
	for range 1500 {
		g := NewWithT(t)
		var live []corev1.Taint
		set := map[string]*string{}
		for _, i := range random.Perm(len(all)) {
			key, effect := state.ParseTaintField(all[i])
			if random.IntN(2) == 0 {
				live = append(live, corev1.Taint{Key: key, Effect: effect, Value: fmt.Sprint(random.IntN(3))})
			}
			switch random.IntN(6) {
			case 0:
				set[all[i]] = nil
			case 1:
				set[all[i]] = ptr.To(fmt.Sprint(random.IntN(3)))
			}
		}
		before := slices.Clone(live)
		after := apply.MergeTaints(live, set)
		g.Expect(cmp.Diff(before, live)).To(BeEmpty(), "the list that was read is unchanged")
		g.Expect(cmp.Diff(others(live, set), others(after, set), cmpopts.EquateEmpty())).To(BeEmpty(), "%v, set %v", live, set)

		seen := map[string]int{}
		for _, taint := range after {
			field := state.TaintField(taint.Key, taint.Effect)
			seen[field]++
			if want, ours := set[field]; ours {
				g.Expect(want).To(HaveValue(Equal(taint.Value)), field)
			}
		}
		for field, want := range set {
			g.Expect(seen[field]).To(Equal(map[bool]int{true: 1, false: 0}[want != nil]), field)
		}
		g.Expect(cmp.Diff(after, apply.MergeTaints(after, set))).To(BeEmpty(), "a second merge changes nothing")
	}
}

// others returns the taints that are not part of a change.
func others(taints []corev1.Taint, set map[string]*string) []corev1.Taint {
	return slices.DeleteFunc(slices.Clone(taints), func(t corev1.Taint) bool {
		_, ours := set[state.TaintField(t.Key, t.Effect)]
		return ours
	})
}
