"""The conformance fixture on stdio with the official Python SDK v2, which uses the era of its first message."""

import base64
import json
from typing import Annotated, Any

import anyio
from mcp import types
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, Field

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
OPTIONS = ["option1", "option2", "option3"]

server = MCPServer("conformance-fixture-py", version="1.0.0")


def tool(function):
    return server.tool(description=function.__name__)(function)


def prompt(function):
    return server.prompt(description=function.__name__)(function)


def text(words: str) -> types.TextContent:
    return types.TextContent(type="text", text=words)


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, mime_type: str, words: str) -> types.EmbeddedResource:
    contents = types.TextResourceContents(uri=uri, mime_type=mime_type, text=words)
    return types.EmbeddedResource(type="resource", resource=contents)


def user(content: Any) -> UserMessage:
    return UserMessage(role="user", content=content)


# ---- Tools ----


@tool
def test_simple_text() -> str:
    return "This is a simple text response for testing."


@tool
def test_image_content() -> list[types.ImageContent]:
    return [image()]


@tool
def test_audio_content() -> list[types.AudioContent]:
    return [types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")]


@tool
def test_embedded_resource() -> list[types.EmbeddedResource]:
    return [embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")]


@tool
def test_multiple_content_types() -> list[types.TextContent | types.ImageContent | types.EmbeddedResource]:
    resource = embedded("test://mixed-content-resource", "application/json", '{"test": "data", "value": 123}')
    return [text("Multiple content types test:"), image(), resource]


@tool
def test_error_handling() -> str:
    raise RuntimeError("This tool intentionally returns an error for testing")


@tool
async def test_tool_with_logging(ctx: Context) -> str:
    for words in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(words)
        await anyio.sleep(0.05)
    return "Tool with logging executed successfully"


@tool
async def test_tool_with_progress(ctx: Context) -> str:
    for done in (0, 50, 100):
        await ctx.report_progress(progress=done, total=100, message=f"Completed step {done} of 100")
        await anyio.sleep(0.05)
    return "done"


@tool
async def test_reconnection() -> str:
    await anyio.sleep(0.3)
    return "Reconnection test completed"


@tool
async def test_sampling(prompt: str, ctx: Context) -> str:
    messages = [types.SamplingMessage(role="user", content=text(prompt))]
    reply = await ctx.session.create_message(
        messages=messages, max_tokens=100, related_request_id=ctx.request_id
    )
    return f"LLM response: {reply.content.text}"


class Answer(BaseModel):
    response: str = Field(description="User's response")


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field(default="active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


def titled(word: str) -> list[dict[str, str]]:
    return [
        {"const": f"value{i}", "title": f"{nth} {word}"}
        for i, nth in enumerate(("First", "Second", "Third"), 1)
    ]


class Choices(BaseModel):
    untitledSingle: str = Field(default="option1", json_schema_extra={"enum": OPTIONS})  # noqa: N815
    titledSingle: str = Field(default="value1", json_schema_extra={"oneOf": titled("Option")})  # noqa: N815
    legacyEnum: str = Field(  # noqa: N815 - the suite asks for this spelling
        default="opt1",
        json_schema_extra={
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
    )
    untitledMulti: list[str] = Field(  # noqa: N815
        default=["option1"], json_schema_extra={"items": {"type": "string", "enum": OPTIONS}}
    )
    titledMulti: list[str] = Field(  # noqa: N815
        default=["value1"], json_schema_extra={"items": {"anyOf": titled("Choice")}}
    )


async def elicited(ctx: Context, message: str, form: type[BaseModel]) -> str:
    reply = await ctx.elicit(message=message, schema=form)
    content = reply.data.model_dump_json() if reply.action == "accept" else "{}"
    return f"Elicitation completed: action={reply.action}, content={content}"


@tool
async def test_elicitation(message: str, ctx: Context) -> str:
    return await elicited(ctx, message, Answer)


@tool
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    return await elicited(ctx, "Please provide user information", Defaults)


@tool
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    return await elicited(ctx, "Please select options", Choices)


@tool
def json_schema_2020_12_tool() -> str:
    return "json_schema_2020_12_tool"


STRING = {"type": "string"}
# MCPServer derives every schema from a signature, and this one cannot be.
server._tool_manager._tools["json_schema_2020_12_tool"].parameters = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": STRING, "city": STRING},
        }
    },
    "properties": {
        "name": STRING,
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": STRING,
        "email": STRING,
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


# ---- Tools that need input, as 2026-07-28 asks for it ----

Needed = types.InputRequiredResult


def form(message: str, name: str, kind: str = "string") -> types.ElicitRequest:
    schema = {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sample(words: str, most: int) -> types.CreateMessageRequest:
    messages = [types.SamplingMessage(role="user", content=text(words))]
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=messages, max_tokens=most)
    )


def filled_in(ctx: Context, key: str, field: str) -> Any:
    answer = (ctx.input_responses or {}).get(key)
    return answer.content.get(field) if isinstance(answer, types.ElicitResult) and answer.content else None


@tool
async def test_input_required_result_elicitation(ctx: Context) -> str | Needed:
    name = filled_in(ctx, "user_name", "name")
    if name is None:
        return Needed(input_requests={"user_name": form("What is your name?", "name")})
    return f"Hello, {name}!"


@tool
async def test_input_required_result_sampling(ctx: Context) -> str | Needed:
    answer = (ctx.input_responses or {}).get("capital_question")
    if not isinstance(answer, types.CreateMessageResult):
        return Needed(input_requests={"capital_question": sample("What is the capital of France?", 100)})
    return f"The model says: {answer.content.text}"


@tool
async def test_input_required_result_list_roots(ctx: Context) -> str | Needed:
    answer = (ctx.input_responses or {}).get("client_roots")
    if not isinstance(answer, types.ListRootsResult):
        return Needed(input_requests={"client_roots": types.ListRootsRequest()})
    return f"{len(answer.roots)} roots"


@tool
async def test_input_required_result_request_state(ctx: Context) -> str | Needed:
    if filled_in(ctx, "confirm", "ok") is None or ctx.request_state != "nonce":
        return Needed(
            input_requests={"confirm": form("Please confirm", "ok", "boolean")}, request_state="nonce"
        )
    return "state-ok"


@tool
async def test_input_required_result_multiple_inputs(ctx: Context) -> str | Needed:
    asked = {
        "user_name": form("What is your name?", "name"),
        "greeting": sample("Generate a greeting", 50),
        "client_roots": types.ListRootsRequest(),
    }
    if not asked.keys() <= (ctx.input_responses or {}).keys():
        return Needed(input_requests=asked, request_state="multiple")
    return "all inputs are here"


@tool
async def test_input_required_result_multi_round(ctx: Context) -> str | Needed:
    known = json.loads(ctx.request_state) if ctx.request_state else None
    if known is None:
        return Needed(
            input_requests={"step1": form("Step 1: What is your name?", "name")}, request_state='{"round":1}'
        )
    if known["round"] == 1:
        state = json.dumps({"round": 2, "name": filled_in(ctx, "step1", "name")})
        return Needed(input_requests={"step2": form("Step 2: Which colour?", "color")}, request_state=state)
    return f"{known['name']} likes {filled_in(ctx, 'step2', 'color')}"


@tool
async def test_input_required_result_tampered_state(ctx: Context) -> str | Needed:
    if not ctx.request_state:
        return Needed(
            input_requests={"confirm": form("Please confirm", "ok", "boolean")}, request_state="round-1"
        )
    return "integrity-ok"


@tool
async def test_input_required_result_capabilities(ctx: Context) -> Needed:
    declared, asked = ctx.client_capabilities, {}
    if declared is not None and declared.sampling is not None:
        asked["greeting"] = sample("Generate a greeting", 50)
    if declared is not None and declared.elicitation is not None:
        asked["user_name"] = form("What is your name?", "name")
    return Needed(input_requests=asked, request_state="capabilities")


@tool
async def test_missing_capability(ctx: Context) -> str:
    declared = ctx.session.client_capabilities
    if declared is None or declared.sampling is None:
        data = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(code=-32021, message="the client has no sampling", data=data)
    return "done"


# ---- Tools that 2026-07-28 is tried with besides ----


@tool
def test_x_mcp_header(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "none",  # noqa: PT028
) -> str:
    return f"region={region}"


@tool
def test_streaming_elicitation() -> str:
    return "only a result"


@tool
async def test_logging_tool(ctx: Context) -> str:
    await ctx.info("test_logging_tool ran")
    return "logged"


def come_and_go() -> str:
    return "here"


@tool
async def test_trigger_tool_change(ctx: Context) -> str:
    server.add_tool(come_and_go, name="test_dynamic_tool")
    server.remove_tool("test_dynamic_tool")
    await ctx.notify_tools_changed()
    return "tools changed"


@tool
async def test_trigger_prompt_change(ctx: Context) -> str:
    server.add_prompt(Prompt.from_function(come_and_go, name="test_dynamic_prompt", description="dynamic"))
    server.remove_prompt("test_dynamic_prompt")
    await ctx.notify_prompts_changed()
    return "prompts changed"


# ---- Resources ----


@server.resource("test://static-text")
def static_text() -> str:
    return "This is the content of the static text resource."


@server.resource("test://static-binary")
def static_binary() -> bytes:
    return base64.b64decode(PNG)


@server.resource("test://watched-resource")
def watched_resource() -> str:
    return "Watched resource content"


@server.resource("test://template/{number}/data")
def template(number: str) -> str:
    return json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"})


# ---- Prompts ----


@prompt
def test_simple_prompt() -> list[UserMessage]:
    return [user(text("This is a simple prompt for testing."))]


@prompt
def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    return [user(text(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"))]


@prompt
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803
    resource = embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
    return [user(resource), user(text("Please process the embedded resource above."))]


@prompt
def test_prompt_with_image() -> list[UserMessage]:
    return [user(image()), user(text("Please analyze the image above."))]


@prompt
async def test_input_required_result_prompt(ctx: Context) -> list[UserMessage] | Needed:
    context = filled_in(ctx, "user_context", "context")
    if context is None:
        return Needed(input_requests={"user_context": form("What is the context?", "context")})
    return [user(text(f"The context is: {context}"))]


# ---- The rest ----


@server.completion()
async def complete(
    _ref: types.PromptReference | types.ResourceTemplateReference,
    _argument: types.CompletionArgument,
    _context: types.CompletionContext | None,
) -> types.Completion:
    return types.Completion(values=[], total=0, has_more=False)


async def nothing(_ctx: Any, _params: Any) -> types.EmptyResult:
    return types.EmptyResult()


# What MCPServer has no decorator for.
for method, params in (
    ("logging/setLevel", types.SetLevelRequestParams),
    ("resources/subscribe", types.SubscribeRequestParams),
    ("resources/unsubscribe", types.UnsubscribeRequestParams),
):
    server._lowlevel_server.add_request_handler(method, params, nothing)

if __name__ == "__main__":
    server.run(transport="stdio")
