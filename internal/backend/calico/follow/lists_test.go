// SPDX-License-Identifier: Apache-2.0

package follow

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	v3 "github.com/projectcalico/api/pkg/apis/projectcalico/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// answering returns clients of a server with so many sets of one size. If the server does not
// support pages, the first answer has all sets, as from Calico's API server. The requests are noted.
func answering(t *testing.T, count, size int, pages bool) (c *clients, asked *[]string) {
	t.Helper()
	asked = &[]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.RawQuery)
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("labelSelector") == "broken" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","reason":"Forbidden","code":403}`))
			return
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("continue"))
		limit, _ := strconv.Atoi(r.URL.Query().Get("limit"))
		to, next := count, ""
		if pages && from+limit < count {
			to = from + limit
			next = strconv.Itoa(to)
		}
		_, _ = w.Write([]byte(`{"apiVersion":"projectcalico.org/v3","items":[`))
		for i := from; i < to; i++ {
			if i > from {
				_, _ = w.Write([]byte(","))
			}
			// Items from an aggregated server have no kind.
			_, _ = fmt.Fprintf(w, `{"metadata":{"name":"s%d"},"spec":{"nets":["%s"]}}`, i, strings.Repeat("x", size))
		}
		_, _ = fmt.Fprintf(w, `],"kind":"GlobalNetworkSetList","metadata":{"continue":"%s","resourceVersion":"7"}}`, next)
	}))
	t.Cleanup(server.Close)
	c, err := newClients(&rest.Config{Host: server.URL, QPS: -1})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return c, asked
}

func TestLists(t *testing.T) {
	sets := calicoKind(v3.KindGlobalNetworkSet, "globalnetworksets")
	for name, pages := range map[string]bool{"in pages": true, "in one answer": false} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			c, asked := answering(t, 1000, 100, pages)
			var names []string
			version, err := c.list(t.Context(), sets, metav1.ListOptions{LabelSelector: "x", ResourceVersion: "0"}, 1<<20, func(object runtime.Object) error {
				names = append(names, object.(*v3.GlobalNetworkSet).Name)
				return nil
			})
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(version).To(Equal("7"))
			g.Expect(names).To(HaveLen(1000))
			g.Expect(names[999]).To(Equal("s999"))
			for _, query := range *asked {
				g.Expect(query).To(And(ContainSubstring("labelSelector=x"), ContainSubstring("limit="), Not(ContainSubstring("resourceVersion"))))
			}
		})
	}
	t.Run("of large objects the pages are short", func(t *testing.T) {
		g := NewWithT(t)
		c, asked := answering(t, 60, 500<<10, true)
		read := 0
		_, err := c.list(t.Context(), sets, metav1.ListOptions{}, 0, func(runtime.Object) error { read++; return nil })
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(read).To(Equal(60))
		g.Expect((*asked)[1:]).To(HaveEach(ContainSubstring("limit=8")))
	})
	t.Run("no more is read than requested", func(t *testing.T) {
		g := NewWithT(t)
		c, _ := answering(t, 60, 500<<10, false)
		read := 0
		_, err := c.list(t.Context(), sets, metav1.ListOptions{}, 10<<20, func(runtime.Object) error { read++; return nil })
		g.Expect(err).To(MatchError(errAnswerTooLong))
		g.Expect(read).To(BeNumerically("~", 20, 1))

		c, asked := answering(t, 60, 500<<10, true)
		_, err = c.list(t.Context(), sets, metav1.ListOptions{}, 27<<20, func(runtime.Object) error { return nil })
		g.Expect(err).To(MatchError(errAnswerTooLong), "all pages count together")
		g.Expect(len(*asked)).To(BeNumerically(">", 1))
	})
	t.Run("an error ends the list", func(t *testing.T) {
		g := NewWithT(t)
		c, _ := answering(t, 200, 10, false)
		enough := errors.New("enough")
		_, err := c.list(t.Context(), sets, metav1.ListOptions{}, 0, func(o runtime.Object) error {
			if o.(client.Object).GetName() == "s5" {
				return enough
			}
			return nil
		})
		g.Expect(err).To(MatchError(enough))
		_, err = c.list(t.Context(), sets, metav1.ListOptions{LabelSelector: "broken"}, 0, nil)
		g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "%v", err)
	})
}

func TestAnswersThatAreNoLists(t *testing.T) {
	g := NewWithT(t)
	for text, want := range map[string]string{
		`[]`: "in the place of", `{"items":{}}`: "no array", `{"items":[{}`: "EOF", `{"items":[]`: "EOF", `{`: "EOF", ``: "EOF",
	} {
		_, err := eachItem(strings.NewReader(text), func([]byte) error { return nil })
		g.Expect(err).To(MatchError(ContainSubstring(want)), text)
	}
	meta, err := eachItem(strings.NewReader(`{"metadata":{"resourceVersion":"3"},"items":null}`), nil)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(meta.ResourceVersion).To(Equal("3"))
}
