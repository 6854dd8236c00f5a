// SPDX-License-Identifier: Apache-2.0

// Package gitops checks the verdicts of GitOps tools on every state of a policy and of an enactment:
// those of kstatus, which Flux, Helm and kubectl use, and those of the health check for Argo CD.
package gitops

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the table and the health tests anew")

const (
	customizations = "../../examples/gitops/argo-cd/resource_customizations/cpnp.dev"
	page           = "../../docs/status.md"
)

var kinds = []string{"ControlPlaneNetworkPolicy", "ControlPlaneNodeEnactment"}

// state is a fixture with the verdicts of the tools.
type state struct {
	file, name                     string
	object                         *unstructured.Unstructured
	ready, reconciling, stalled    string
	kstatus, health, healthMessage string
	waitEnds                       bool
}

func TestKstatusAndArgoCDAgreeOnEveryState(t *testing.T) {
	for _, kind := range kinds {
		states := statesOf(t, kind)
		if len(states) < 20 {
			t.Fatalf("only %d states of %s", len(states), kind)
		}
		for _, s := range states {
			t.Run(kind+"/"+s.name, func(t *testing.T) {
				if want := healthFor(s); s.health != want {
					t.Errorf("kstatus says %s, Argo CD %s instead of %s", s.kstatus, s.health, want)
				}
				if s.healthMessage == "" {
					t.Error("Argo CD shows no message")
				}
			})
		}
	}
}

// healthFor returns the health that equals a verdict of kstatus.
func healthFor(s state) string {
	switch {
	case s.kstatus == "Current" && s.ready == "True/Suspended":
		return "Suspended" // as for a suspended CronJob
	case s.kstatus == "Current":
		return "Healthy"
	case s.kstatus == "Failed":
		return "Degraded"
	}
	return "Progressing" // InProgress, Terminating
}

// Verdicts that must not change by accident, even if the table changes.
func TestVerdictsOfStatesPeopleMeet(t *testing.T) {
	wanted := map[string]string{
		"as declared": "Current", "Audit as declared": "Current", "Audit drifted": "Current", "Audit held back": "Current",
		"suspended with differences": "Current", "suspended without nodes": "Current",
		"new": "InProgress", "changed, not observed again": "InProgress", "the cluster cannot be read": "InProgress",
		"to be written": "InProgress", "rolling out": "InProgress", "awaiting a confirmation": "InProgress", "write failed": "InProgress",
		"Calico unread": "InProgress", "taint drifted": "InProgress",
		"Service conflicted": "Failed", "Service held back": "Failed", "Service contested": "Failed",
		"hosts unprotected: CalicoNotInstalled": "Failed", "without effect: FailsafePorts": "Failed", "required flow cut": "Failed",
		"rollout failed": "Failed", "waiting for a person on every node": "Failed", "no node": "Failed",
		"being deleted": "Terminating",
	}
	found := map[string]string{}
	for _, s := range statesOf(t, kinds[0]) {
		found[s.name] = s.kstatus
	}
	for name, want := range wanted {
		if found[name] != want {
			t.Errorf("%s: %q instead of %s", name, found[name], want)
		}
	}
}

// Without the default of the CRD, a new object would be Current: it has no other sign of outstanding work.
func TestNewObjectsAreNotReady(t *testing.T) {
	for _, kind := range kinds {
		for _, s := range statesOf(t, kind) {
			if s.name != "new" {
				continue
			}
			bare := s.object.DeepCopy()
			unstructured.RemoveNestedField(bare.Object, "status")
			if got := kstatusOf(t, bare); got != "Current" {
				t.Errorf("%s without a status is %s: the default is not needed any more", kind, got)
			}
			if s.kstatus != "InProgress" || s.health != "Progressing" {
				t.Errorf("a new %s is %s, %s", kind, s.kstatus, s.health)
			}
			if got := defaultOf(t, kind); got != int64(-1) {
				t.Errorf("the default of status.observedGeneration is %v", got)
			}
		}
	}
}

// defaultOf returns the default of status.observedGeneration in the CRD.
func defaultOf(t *testing.T, kind string) any {
	t.Helper()
	crd := readObject(t, "../../config/crd/bases/cpnp.dev_"+map[string]string{
		kinds[0]: "controlplanenetworkpolicies", kinds[1]: "controlplanenodeenactments",
	}[kind]+".yaml")
	versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
	value, _, _ := unstructured.NestedFieldNoCopy(versions[0].(map[string]any),
		"schema", "openAPIV3Schema", "properties", "status", "default", "observedGeneration")
	return value
}

func TestTableInTheDocs(t *testing.T) {
	var table strings.Builder
	for _, kind := range kinds {
		fmt.Fprintf(&table, "\n`%s`:\n\n", kind)
		table.WriteString("| States | `Ready` | `Reconciling` | `Stalled` | kstatus | Argo CD | `kubectl wait` |\n|---|---|---|---|---|---|---|\n")
		for _, row := range rowsOf(statesOf(t, kind)) {
			table.WriteString(row)
		}
	}
	table.WriteString("\n")
	compareBetween(t, page, "<!-- verdicts: begin -->\n", "<!-- verdicts: end -->", table.String())
}

// rowsOf returns the rows of a table. States with the same verdict share a row.
func rowsOf(states []state) []string {
	names := map[string][]string{}
	for _, s := range states {
		wait := "waits"
		if s.waitEnds {
			wait = "ends"
		}
		verdict := fmt.Sprintf("| %s | %s | %s | %s | %s | %s |\n",
			code(s.ready), code(s.reconciling), code(s.stalled), s.kstatus, s.health, wait)
		names[verdict] = append(names[verdict], s.name)
	}
	var rows []string
	for verdict, of := range names {
		slices.Sort(of)
		rows = append(rows, "| "+strings.Join(of, "; ")+" "+verdict)
	}
	slices.SortFunc(rows, func(a, b string) int { return strings.Compare(strings.ToLower(a), strings.ToLower(b)) })
	return rows
}

func code(text string) string {
	if text == "" {
		return ""
	}
	return "`" + text + "`"
}

// The health tests in the form of Argo CD's repository: one for each fixture.
func TestHealthTestsAreComplete(t *testing.T) {
	for _, kind := range kinds {
		var text strings.Builder
		text.WriteString("# Written by `go test -run HealthTests -update` in test/gitops. Do not edit.\ntests:\n")
		for _, s := range statesOf(t, kind) {
			message, err := yaml.Marshal(s.healthMessage)
			if err != nil {
				t.Fatal(err)
			}
			line := strings.ReplaceAll(strings.TrimSpace(string(message)), "\n", "\n     ")
			fmt.Fprintf(&text, "- healthStatus:\n    status: %s\n    message: %s\n  inputPath: testdata/%s\n", s.health, line, s.file)
		}
		compareFile(t, filepath.Join(customizations, kind, "health_test.yaml"), text.String())
	}
}

func statesOf(t *testing.T, kind string) []state {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(customizations, kind, "testdata", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	check, err := os.ReadFile(filepath.Join(customizations, kind, "health.lua"))
	if err != nil {
		t.Fatal(err)
	}
	var states []state
	for _, file := range files {
		s := state{file: filepath.Base(file), name: nameIn(t, file), object: readObject(t, file)}
		s.ready, s.reconciling, s.stalled = conditionOf(s.object, "Ready"), conditionOf(s.object, "Reconciling"), conditionOf(s.object, "Stalled")
		s.kstatus = kstatusOf(t, s.object)
		s.health, s.healthMessage = healthOf(t, string(check), s.object)
		s.waitEnds = waitEnds(s.object)
		states = append(states, s)
	}
	return states
}

func nameIn(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "# State: ")
	name, _, _ := strings.Cut(rest, "\n")
	return name
}

func kstatusOf(t *testing.T, object *unstructured.Unstructured) string {
	t.Helper()
	result, err := status.Compute(object)
	if err != nil {
		t.Fatal(err)
	}
	return string(result.Status)
}

func conditions(object *unstructured.Unstructured) []any {
	found, _, _ := unstructured.NestedSlice(object.Object, "status", "conditions")
	return found
}

// conditionOf returns status and reason of a condition, empty if the condition is absent.
func conditionOf(object *unstructured.Unstructured, kind string) string {
	for _, c := range conditions(object) {
		if c := c.(map[string]any); c["type"] == kind {
			return fmt.Sprintf("%v/%v", c["status"], c["reason"])
		}
	}
	return ""
}

// waitEnds tells whether kubectl wait --for=condition=Ready ends: the
// condition is True and, if it has a generation, of the present one.
func waitEnds(object *unstructured.Unstructured) bool {
	for _, c := range conditions(object) {
		if c := c.(map[string]any); c["type"] == "Ready" {
			generation, has := c["observedGeneration"].(int64)
			return c["status"] == "True" && (!has || generation >= object.GetGeneration())
		}
	}
	return false
}

// healthOf runs a health check as Argo CD does: with obj as a global, in a state with only the safe libraries.
func healthOf(t *testing.T, check string, object *unstructured.Unstructured) (health, message string) {
	t.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		l.Push(l.NewFunction(open))
		l.Push(lua.LString(name))
		l.Call(1, 0)
	}
	l.SetGlobal("obj", luaValue(l, object.Object))
	if err := l.DoString(check); err != nil {
		t.Fatal(err)
	}
	result, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		t.Fatal("the health check returns no table")
	}
	return l.GetField(result, "status").String(), l.GetField(result, "message").String()
}

func luaValue(l *lua.LState, value any) lua.LValue {
	switch v := value.(type) {
	case map[string]any:
		table := l.NewTable()
		for key, item := range v {
			table.RawSetString(key, luaValue(l, item))
		}
		return table
	case []any:
		table := l.NewTable()
		for _, item := range v {
			table.Append(luaValue(l, item))
		}
		return table
	case string:
		return lua.LString(v)
	case bool:
		return lua.LBool(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	}
	return lua.LNil
}

func readObject(t *testing.T, file string) *unstructured.Unstructured {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	json, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(json); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return object
}

func compareFile(t *testing.T, file, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: run the test with -update", file)
	}
}

// compareBetween compares the part of a file between two marks.
func compareBetween(t *testing.T, file, begin, end, want string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s lacks the marks %s%s", file, begin, end)
	}
	compareFile(t, file, before+begin+want+end+after)
}

// The tools agree even on combinations of conditions that the operator never reports.
func TestKstatusAndArgoCDAgreeOnEveryCombination(t *testing.T) {
	for _, kind := range kinds {
		check, err := os.ReadFile(filepath.Join(customizations, kind, "health.lua"))
		if err != nil {
			t.Fatal(err)
		}
		for bits := range 1 << 3 {
			object := &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "cpnp.dev/v1alpha1", "kind": kind, "metadata": map[string]any{"name": "x", "generation": int64(1)},
				"status": map[string]any{"observedGeneration": int64(1)},
			}}
			ready := map[string]any{"type": "Ready", "status": "False", "reason": "A", "message": "b"}
			list := []any{ready}
			if bits&1 != 0 {
				ready["status"] = "True"
			}
			for bit, name := range map[int]string{2: "Reconciling", 4: "Stalled"} {
				if bits&bit != 0 {
					list = append(list, map[string]any{"type": name, "status": "True", "reason": "A", "message": "b"})
				}
			}
			if bits&6 == 6 {
				continue // kstatus goes by the order of the two conditions
			}
			if err := unstructured.SetNestedSlice(object.Object, list, "status", "conditions"); err != nil {
				t.Fatal(err)
			}
			s := state{ready: conditionOf(object, "Ready"), kstatus: kstatusOf(t, object)}
			if s.health, _ = healthOf(t, string(check), object); s.health != healthFor(s) {
				t.Errorf("%s %03b: kstatus says %s, Argo CD %s", kind, bits, s.kstatus, s.health)
			}
		}
	}
}
