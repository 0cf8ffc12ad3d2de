"""Any agent that speaks ACP: the agent's definition names the command.

Rules
- It is told where the gateway is under the names that most clients know, with the virtual key under each of them.
"""

from quarterdeck.agents.profiles.port import Context, Launch, Profile


def launch(context: Context) -> Launch:
    """The command of the definition, with the usual variables."""
    env = {}
    if context.endpoint is not None:
        env = {
            "ANTHROPIC_BASE_URL": context.endpoint,
            "ANTHROPIC_API_KEY": context.key,
            "OPENAI_BASE_URL": f"{context.endpoint}/v1",
            "OPENAI_API_KEY": context.key,
            "GOOGLE_GEMINI_BASE_URL": context.endpoint,
            "GEMINI_API_KEY": context.key,
            "QUARTERDECK_MODEL": context.model,
        }
        told = {"QUARTERDECK_MODEL_CONTEXT": context.window, "QUARTERDECK_MODEL_MAX_OUTPUT": context.longest}
        env |= {name: str(tokens) for name, tokens in told.items() if tokens is not None}
    return Launch(argv=(context.installation.program, *context.arguments), env=env)


PROFILE = Profile(name="generic", title="ACP agent", programs=(), launch=launch)
