package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"

	lua "github.com/yuin/gopher-lua"
	luajson "layeh.com/gopher-json"
)

// runScript runs a script as Argo CD does: the object is the global `obj`, only the libraries base, package and
// table are there, the harmless half of os by `require`, and what the script returns goes through JSON.
func runScript(file string, object []byte) (json.RawMessage, error) {
	script, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	openLibraries(state)
	decoded, err := luajson.Decode(state, object)
	if err != nil {
		return nil, err
	}
	state.SetGlobal("obj", decoded)
	if err := state.DoString(string(script)); err != nil {
		return nil, err
	}
	returned := state.Get(-1)
	if returned.Type() != lua.LTTable {
		return nil, fmt.Errorf("%s returned no table but a %s", file, returned.Type())
	}
	return luajson.Encode(returned)
}

func openLibraries(state *lua.LState) {
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage,
		lua.BaseLibName: lua.OpenBase,
		lua.TabLibName:  lua.OpenTable,
	} {
		state.Push(state.NewFunction(open))
		state.Push(lua.LString(name))
		state.Call(1, 0)
	}
	whole := lua.NewState()
	defer whole.Close()
	os := whole.GetGlobal(lua.OsLibName).(*lua.LTable)
	safe := map[string]lua.LGFunction{}
	for _, name := range []string{"date", "time"} {
		safe[name] = os.RawGetString(name).(*lua.LFunction).GFunction
	}
	state.PreloadModule(lua.OsLibName, func(state *lua.LState) int {
		state.Push(state.SetFuncs(state.NewTable(), safe))
		return 1
	})
}

// patchOf prints the merge patch that Argo CD sends for an action: from the object to what its script returned.
func patchOf(file string, object []byte) (json.RawMessage, error) {
	returned, err := runScript(file, object)
	if err != nil {
		return nil, err
	}
	var before, after map[string]any
	if err := errors.Join(json.Unmarshal(object, &before), json.Unmarshal(returned, &after)); err != nil {
		return nil, err
	}
	keepEmptyMaps(after, before)
	kept, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	return jsonpatch.CreateMergePatch(object, kept)
}

// keepEmptyMaps undoes that Lua can't tell an empty map from an empty list, as Argo CD does.
func keepEmptyMaps(changed, original map[string]any) {
	for key, value := range original {
		before, isMap := value.(map[string]any)
		if !isMap {
			continue
		}
		switch after := changed[key].(type) {
		case map[string]any:
			keepEmptyMaps(after, before)
		case []any:
			if len(after) == 0 {
				changed[key] = before
			}
		}
	}
}
