complete -c mcp-bridge -n __fish_use_subcommand -a serve
complete -c mcp-bridge -n __fish_use_subcommand -a status
complete -c mcp-bridge -n __fish_use_subcommand -a ps
complete -c mcp-bridge -n __fish_use_subcommand -a logs
complete -c mcp-bridge -n __fish_use_subcommand -a tap
complete -c mcp-bridge -n __fish_use_subcommand -a tools
complete -c mcp-bridge -n __fish_use_subcommand -a call
complete -c mcp-bridge -n __fish_use_subcommand -a connect
complete -c mcp-bridge -n __fish_use_subcommand -a restart
complete -c mcp-bridge -n __fish_use_subcommand -a reload
complete -c mcp-bridge -n __fish_use_subcommand -a config
complete -c mcp-bridge -n __fish_use_subcommand -a approve
complete -c mcp-bridge -n __fish_use_subcommand -a token
complete -c mcp-bridge -n __fish_use_subcommand -a client-config
complete -c mcp-bridge -n __fish_use_subcommand -a doctor
complete -c mcp-bridge -n __fish_use_subcommand -a completion
complete -c mcp-bridge -n __fish_use_subcommand -s h
complete -c mcp-bridge -n __fish_use_subcommand -l help
complete -c mcp-bridge -n __fish_use_subcommand -l version
complete -c mcp-bridge -n __fish_use_subcommand -l stdio
complete -c mcp-bridge -n __fish_use_subcommand -l host
complete -c mcp-bridge -n __fish_use_subcommand -l port
complete -c mcp-bridge -n __fish_use_subcommand -l unix
complete -c mcp-bridge -n __fish_use_subcommand -l token-file
complete -c mcp-bridge -n __fish_use_subcommand -l no-auth
complete -c mcp-bridge -n __fish_use_subcommand -l tls-cert
complete -c mcp-bridge -n __fish_use_subcommand -l tls-key
complete -c mcp-bridge -n __fish_use_subcommand -l env
complete -c mcp-bridge -n __fish_use_subcommand -l allowed-host
complete -c mcp-bridge -n __fish_use_subcommand -l cors
complete -c mcp-bridge -n __fish_use_subcommand -l share
complete -c mcp-bridge -n __fish_use_subcommand -l era
complete -c mcp-bridge -n __fish_use_subcommand -l limit
complete -c mcp-bridge -n __fish_use_subcommand -l log-level
complete -c mcp-bridge -n __fish_use_subcommand -l logLevel
complete -c mcp-bridge -n __fish_use_subcommand -l log-format
complete -c mcp-bridge -n __fish_use_subcommand -l allow-root
complete -c mcp-bridge -n __fish_use_subcommand -l mcp-path
complete -c mcp-bridge -n __fish_use_subcommand -l streamableHttpPath
complete -c mcp-bridge -n __fish_use_subcommand -l sse-path
complete -c mcp-bridge -n __fish_use_subcommand -l ssePath
complete -c mcp-bridge -n __fish_use_subcommand -l messages-path
complete -c mcp-bridge -n __fish_use_subcommand -l messagePath
complete -c mcp-bridge -n __fish_use_subcommand -l ws-path
complete -c mcp-bridge -n __fish_use_subcommand -l health
complete -c mcp-bridge -n __fish_use_subcommand -l healthEndpoint
complete -c mcp-bridge -n __fish_use_subcommand -l output-transport
complete -c mcp-bridge -n __fish_use_subcommand -l outputTransport
complete -c mcp-bridge -n __fish_use_subcommand -l session-timeout
complete -c mcp-bridge -n __fish_use_subcommand -l sessionTimeout
complete -c mcp-bridge -n __fish_use_subcommand -l stateful
complete -c mcp-bridge -n '__fish_seen_subcommand_from serve' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from serve' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from serve' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from serve' -l allow-root
complete -c mcp-bridge -n '__fish_seen_subcommand_from status' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from status' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from status' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from status' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from status' -l watch
complete -c mcp-bridge -n '__fish_seen_subcommand_from ps' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from ps' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from ps' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from ps' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -s f
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -l follow
complete -c mcp-bridge -n '__fish_seen_subcommand_from tap' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from tap' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from tap' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from tools' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from tools' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from tools' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from call' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from call' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from call' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from restart' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from restart' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from restart' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from reload' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from reload' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from reload' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -a check
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -a show
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -a import
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -a schema
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from approve' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from approve' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from approve' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -a new
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -a list
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -a revoke
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -l servers
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a claude
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a claude-code
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a cursor
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a vscode
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a windsurf
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a zed
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a codex
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a gemini
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -l http
complete -c mcp-bridge -n '__fish_seen_subcommand_from doctor' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from doctor' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from doctor' -l config
complete -c mcp-bridge -n '__fish_seen_subcommand_from completion' -a bash
complete -c mcp-bridge -n '__fish_seen_subcommand_from completion' -a zsh
complete -c mcp-bridge -n '__fish_seen_subcommand_from completion' -a fish
complete -c mcp-bridge -n '__fish_seen_subcommand_from completion' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from completion' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from completion' -l config
