// Program gitops asks what GitOps tools think of an object: Flux and Helm by kstatus, Argo CD by its Lua scripts.
//
// It reads the object as JSON from its standard input and prints JSON.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const usage = "usage: gitops kstatus | lua SCRIPT | patch SCRIPT, with an object on standard input"

func main() {
	answer, err := answer(os.Args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answer)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gitops:", err)
		os.Exit(1)
	}
}

func answer(arguments []string) (any, error) {
	object, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	switch {
	case len(arguments) == 1 && arguments[0] == "kstatus":
		return kstatus(object)
	case len(arguments) == 2 && arguments[0] == "lua":
		return runScript(arguments[1], object)
	case len(arguments) == 2 && arguments[0] == "patch":
		return patchOf(arguments[1], object)
	}
	return nil, errors.New(usage)
}

func kstatus(object []byte) (any, error) {
	var decoded unstructured.Unstructured
	if err := decoded.UnmarshalJSON(object); err != nil {
		return nil, err
	}
	return status.Compute(&decoded)
}
