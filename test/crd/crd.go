// SPDX-License-Identifier: Apache-2.0

// Package crd accepts and refuses objects like an API server with the
// CustomResourceDefinitions of the repository: by the API server's code, but without a
// running API server.
package crd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
	"sigs.k8s.io/yaml"
)

// Kinds are the kinds that CustomResourceDefinitions define.
type Kinds map[schema.GroupVersionKind]*Kind

// Kind is a kind in a version.
type Kind struct {
	// Schema is its structural schema.
	Schema *structural.Structural

	openAPI validation.SchemaValidator
	rules   *cel.Validator
}

// Load reads the definitions in a folder. Load fails where an API server would refuse a
// definition, for example because a rule could cost too much.
func Load(folder string) (Kinds, error) {
	files, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("%s holds no definition", folder)
	}
	return LoadFiles(files...)
}

// LoadFiles reads the definitions in files.
func LoadFiles(files ...string) (Kinds, error) {
	kinds := Kinds{}
	for _, file := range files {
		if err := kinds.load(file); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return kinds, nil
}

func (k Kinds) load(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(text, &definition); err != nil {
		return err
	}
	apiextensionsv1.SetDefaults_CustomResourceDefinition(&definition)
	apiextensionsv1.SetDefaults_CustomResourceDefinitionSpec(&definition.Spec)
	var internal apiextensions.CustomResourceDefinition
	convert := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition
	if err := convert(&definition, &internal, nil); err != nil {
		return err
	}
	internal.Status.StoredVersions = []string{definition.Spec.Versions[0].Name}
	if errs := crdvalidation.ValidateCustomResourceDefinition(context.Background(), &internal); len(errs) > 0 {
		return errs.ToAggregate()
	}
	for i, version := range internal.Spec.Versions {
		kind, err := newKind(schemaOf(&internal, i))
		if err != nil {
			return err
		}
		k[schema.GroupVersionKind{Group: internal.Spec.Group, Version: version.Name, Kind: internal.Spec.Names.Kind}] = kind
	}
	return nil
}

// schemaOf returns the schema of a version. The conversion moves the schema to the shared
// place if all versions have the same schema, or there is a single version.
func schemaOf(definition *apiextensions.CustomResourceDefinition, version int) *apiextensions.JSONSchemaProps {
	if schema := definition.Spec.Versions[version].Schema; schema != nil {
		return schema.OpenAPIV3Schema
	}
	return definition.Spec.Validation.OpenAPIV3Schema
}

func newKind(props *apiextensions.JSONSchemaProps) (*Kind, error) {
	s, err := structural.NewStructural(props)
	if err != nil {
		return nil, err
	}
	openAPI, _, err := validation.NewSchemaValidator(props)
	if err != nil {
		return nil, err
	}
	return &Kind{Schema: s, openAPI: openAPI, rules: cel.NewValidator(s, true, celconfig.PerCallLimit)}, nil
}

// Create handles a document like an API server handles a request to create: Create returns
// the object with defaults, or the reason of the refusal.
func (k Kinds) Create(document []byte) (map[string]any, []error) { return k.write(document, nil) }

// Update handles a document like an API server handles a request to replace a stored
// object.
func (k Kinds) Update(document []byte, stored map[string]any) (map[string]any, []error) {
	return k.write(document, stored)
}

// write is Create and, if something is stored, Update.
func (k Kinds) write(document []byte, stored map[string]any) (map[string]any, []error) {
	object := map[string]any{}
	if err := yaml.UnmarshalStrict(document, &object); err != nil {
		return nil, []error{err}
	}
	object = asJSON(object).(map[string]any)
	kind, err := k.of(object)
	if err != nil {
		return nil, []error{err}
	}
	var unknown []error
	options := structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(object, kind.Schema, true, options) {
		unknown = append(unknown, fmt.Errorf("strict decoding error: unknown field %q", path))
	}
	if len(unknown) > 0 {
		return nil, unknown
	}
	defaulting.Default(object, kind.Schema)
	if errs := kind.check(object, stored); len(errs) > 0 {
		return nil, errs
	}
	return object, nil
}

// Upgrade returns an object stored under an earlier definition as an API server shows the
// object: unknown fields are dropped, and defaults are added.
func (k Kinds) Upgrade(document []byte) (map[string]any, error) {
	stored := map[string]any{}
	if err := yaml.UnmarshalStrict(document, &stored); err != nil {
		return nil, err
	}
	stored = asJSON(stored).(map[string]any)
	kind, err := k.of(stored)
	if err != nil {
		return nil, err
	}
	pruning.Prune(stored, kind.Schema, true)
	defaulting.Default(stored, kind.Schema)
	return stored, nil
}

// Change returns an API server's objections to an update of a stored object. A stored value
// passes if the update does not change the value (CRDValidationRatcheting, Kubernetes 1.33 and
// later without an option).
func (k Kinds) Change(object, stored map[string]any) []error {
	kind, err := k.of(object)
	if err != nil {
		return []error{err}
	}
	return kind.checkUpdate(object, stored)
}

// checkUpdate follows customResourceStrategy.ValidateUpdate of the API server.
func (k *Kind) checkUpdate(object, stored map[string]any) []error {
	correlated := common.NewCorrelatedObject(object, stored, &model.Structural{Structural: k.Schema})
	found := validation.ValidateCustomResourceUpdate(nil, object, stored, k.openAPI, validation.WithRatcheting(correlated))
	if len(listtype.ValidateListSetsAndMaps(nil, k.Schema, stored)) == 0 {
		found = append(found, listtype.ValidateListSetsAndMaps(nil, k.Schema, object)...)
	}
	if !blocking(found) {
		const budget = celconfig.RuntimeCELCostBudget
		broken, _ := k.rules.Validate(context.Background(), nil, k.Schema, object, stored, budget, cel.WithRatcheting(correlated))
		found = append(found, broken...)
	}
	return asErrors(found)
}

// Check returns an API server's objections to an object as given, including the status.
func (k Kinds) Check(object map[string]any) []error {
	kind, err := k.of(object)
	if err != nil {
		return []error{err}
	}
	return kind.check(object, nil)
}

func (k Kinds) of(object map[string]any) (*Kind, error) {
	version, _ := object["apiVersion"].(string)
	name, _ := object["kind"].(string)
	kind, ok := k[schema.FromAPIVersionAndKind(version, name)]
	if !ok {
		return nil, fmt.Errorf("no matches for kind %q in version %q", name, version)
	}
	return kind, nil
}

// check follows customResourceStrategy.Validate and ValidateUpdate of the API server
// (apiextensions-apiserver/pkg/registry/customresource/strategy.go): both leave the rules
// out as long as the shape of the object is wrong. stored is nil without a stored object. A
// stored object is valid, so no wrong value passes because of an earlier wrong value.
func (k *Kind) check(object, stored map[string]any) []error {
	found := validation.ValidateCustomResource(nil, object, k.openAPI)
	found = append(found, listtype.ValidateListSetsAndMaps(nil, k.Schema, object)...)
	if !blocking(found) {
		var old any // not a nil map, because CEL takes a nil map for an object
		if stored != nil {
			old = stored
		}
		broken, _ := k.rules.Validate(context.Background(), nil, k.Schema, object, old, celconfig.RuntimeCELCostBudget)
		found = append(found, broken...)
	}
	return asErrors(found)
}

func asErrors(found field.ErrorList) []error {
	errs := make([]error, 0, len(found))
	for _, err := range found {
		errs = append(errs, err)
	}
	return errs
}

func blocking(errs field.ErrorList) bool {
	for _, err := range errs {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		}
	}
	return false
}

// asJSON turns whole numbers, which YAML makes float64, into int64, as the
// decoder of the API server does.
func asJSON(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = asJSON(v[key])
		}
	case []any:
		for i := range v {
			v[i] = asJSON(v[i])
		}
	case float64:
		if v == float64(int64(v)) {
			return int64(v)
		}
	}
	return value
}
