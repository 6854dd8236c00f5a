// SPDX-License-Identifier: Apache-2.0

package stolen

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"
)

// The parties that refuse a write.
const (
	nobody    = "allowed"
	rbac      = "RBAC"
	admission = "admission"
	server    = "API server" // the API server does not know the request
)

// thief is a user with a stolen token.
type thief struct {
	name     string
	requests *http.Client
	server   string
}

// write is one try of a thief. The body is YAML.
type write struct {
	method, path, body string
}

func patch(path, body string) write { return write{http.MethodPatch, path, body} }

func create(path, body string) write { return write{http.MethodPost, path, body} }

func remove(path string) write { return write{http.MethodDelete, path, ""} }

// apply is a server-side apply with force, with the operator's field manager.
func apply(path, body string) write { return write{"APPLY", path, body} }

// contentTypes are the content types of the bodies, by method.
var contentTypes = map[string]string{
	http.MethodPatch: "application/merge-patch+json", http.MethodPost: "application/json", http.MethodPut: "application/json",
	"APPLY": "application/apply-patch+yaml", http.MethodDelete: "application/json",
}

// send sends a write as a dry run, and returns the answer.
func (th thief) send(ctx context.Context, w write) (code int, answer string, err error) {
	url, method := th.server+w.path+"?dryRun=All", w.method
	if method == "APPLY" {
		url, method = url+"&force=true&fieldManager=cpnp.dev/network", http.MethodPatch
	}
	body := []byte{}
	if w.body != "" {
		if body, err = yaml.YAMLToJSON([]byte(w.body)); err != nil {
			return 0, "", err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(string(body)))
	if err != nil {
		return 0, "", err
	}
	request.Header.Set("Content-Type", contentTypes[w.method])
	response, err := th.requests.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// refusalOfPolicy finds the admission policy that refuses a write in the answer.
var refusalOfPolicy = regexp.MustCompile(`ValidatingAdmissionPolicy '([^']*)'`)

// refusedBy returns who refuses a write, and why.
func refusedBy(code int, answer string) (who, why string) {
	switch policy := refusalOfPolicy.FindStringSubmatch(answer); {
	case code < http.StatusBadRequest:
		return nobody, ""
	case policy != nil && strings.Contains(answer, "denied request"):
		return admission, policy[1]
	case code == http.StatusForbidden && strings.Contains(answer, "cannot"):
		return rbac, "no role"
	}
	return server, fmt.Sprintf("%d %s", code, answer)
}

// tries returns who refuses a write, and why; it waits until the API server applies the installed roles and policies.
func (th thief) tries(t *testing.T, w write, want string) (who, why string) {
	t.Helper()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		code, answer, err := th.send(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		if who, why = refusedBy(code, answer); who == want || time.Since(installed) > lag {
			return who, why
		}
		<-again.C
	}
}

// installed is the time of the last installation.
var installed time.Time
