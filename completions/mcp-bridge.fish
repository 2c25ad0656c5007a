complete -c mcp-bridge -n __fish_use_subcommand -a serve
complete -c mcp-bridge -n __fish_use_subcommand -a init
complete -c mcp-bridge -n __fish_use_subcommand -a add
complete -c mcp-bridge -n __fish_use_subcommand -a remove
complete -c mcp-bridge -n __fish_use_subcommand -a enable
complete -c mcp-bridge -n __fish_use_subcommand -a disable
complete -c mcp-bridge -n __fish_use_subcommand -a edit
complete -c mcp-bridge -n __fish_use_subcommand -a service
complete -c mcp-bridge -n __fish_use_subcommand -a status
complete -c mcp-bridge -n __fish_use_subcommand -a ps
complete -c mcp-bridge -n __fish_use_subcommand -a sessions
complete -c mcp-bridge -n __fish_use_subcommand -a logs
complete -c mcp-bridge -n __fish_use_subcommand -a tap
complete -c mcp-bridge -n __fish_use_subcommand -a tools
complete -c mcp-bridge -n __fish_use_subcommand -a call
complete -c mcp-bridge -n __fish_use_subcommand -a prompts
complete -c mcp-bridge -n __fish_use_subcommand -a prompt
complete -c mcp-bridge -n __fish_use_subcommand -a resources
complete -c mcp-bridge -n __fish_use_subcommand -a read
complete -c mcp-bridge -n __fish_use_subcommand -a connect
complete -c mcp-bridge -n __fish_use_subcommand -a restart
complete -c mcp-bridge -n __fish_use_subcommand -a reload
complete -c mcp-bridge -n __fish_use_subcommand -a env
complete -c mcp-bridge -n __fish_use_subcommand -a config
complete -c mcp-bridge -n __fish_use_subcommand -a rules
complete -c mcp-bridge -n __fish_use_subcommand -a approve
complete -c mcp-bridge -n __fish_use_subcommand -a token
complete -c mcp-bridge -n __fish_use_subcommand -a login
complete -c mcp-bridge -n __fish_use_subcommand -a logout
complete -c mcp-bridge -n __fish_use_subcommand -a client-config
complete -c mcp-bridge -n __fish_use_subcommand -a admin
complete -c mcp-bridge -n __fish_use_subcommand -a check
complete -c mcp-bridge -n __fish_use_subcommand -a doctor
complete -c mcp-bridge -n __fish_use_subcommand -a completion
complete -c mcp-bridge -n __fish_use_subcommand -a help
complete -c mcp-bridge -n __fish_use_subcommand -a version
complete -c mcp-bridge -n __fish_use_subcommand -s h
complete -c mcp-bridge -n __fish_use_subcommand -l help
complete -c mcp-bridge -n __fish_use_subcommand -l version
complete -c mcp-bridge -n __fish_use_subcommand -l stdio -r
complete -c mcp-bridge -n __fish_use_subcommand -l host -r
complete -c mcp-bridge -n __fish_use_subcommand -l port -r
complete -c mcp-bridge -n __fish_use_subcommand -l unix -r
complete -c mcp-bridge -n __fish_use_subcommand -l token-file -r
complete -c mcp-bridge -n __fish_use_subcommand -l no-auth
complete -c mcp-bridge -n __fish_use_subcommand -l tls-cert -r
complete -c mcp-bridge -n __fish_use_subcommand -l tls-key -r
complete -c mcp-bridge -n __fish_use_subcommand -l env -r
complete -c mcp-bridge -n __fish_use_subcommand -l env-file -r
complete -c mcp-bridge -n __fish_use_subcommand -l cwd -r
complete -c mcp-bridge -n __fish_use_subcommand -l allowed-host -r
complete -c mcp-bridge -n __fish_use_subcommand -l cors -r
complete -c mcp-bridge -n __fish_use_subcommand -l sandbox -x -a 'basic landlock bwrap'
complete -c mcp-bridge -n __fish_use_subcommand -l read -r
complete -c mcp-bridge -n __fish_use_subcommand -l write -r
complete -c mcp-bridge -n __fish_use_subcommand -l connect -r
complete -c mcp-bridge -n __fish_use_subcommand -l no-network
complete -c mcp-bridge -n __fish_use_subcommand -l share -x -a 'session client principal server'
complete -c mcp-bridge -n __fish_use_subcommand -l era -x -a 'auto legacy modern dual'
complete -c mcp-bridge -n __fish_use_subcommand -l limit -r
complete -c mcp-bridge -n __fish_use_subcommand -l log-level -r
complete -c mcp-bridge -n __fish_use_subcommand -l logLevel -x -a 'debug info warning error none'
complete -c mcp-bridge -n __fish_use_subcommand -l log-format -x -a 'text json'
complete -c mcp-bridge -n __fish_use_subcommand -l allow-root
complete -c mcp-bridge -n __fish_use_subcommand -l mcp-path -r
complete -c mcp-bridge -n __fish_use_subcommand -l streamableHttpPath -r
complete -c mcp-bridge -n __fish_use_subcommand -l sse-path -r
complete -c mcp-bridge -n __fish_use_subcommand -l ssePath -r
complete -c mcp-bridge -n __fish_use_subcommand -l messages-path -r
complete -c mcp-bridge -n __fish_use_subcommand -l messagePath -r
complete -c mcp-bridge -n __fish_use_subcommand -l ws-path -r
complete -c mcp-bridge -n __fish_use_subcommand -l pipe-path -r
complete -c mcp-bridge -n __fish_use_subcommand -l health -r
complete -c mcp-bridge -n __fish_use_subcommand -l healthEndpoint -r
complete -c mcp-bridge -n __fish_use_subcommand -l output-transport -x -a 'streamableHttp sse ws'
complete -c mcp-bridge -n __fish_use_subcommand -l outputTransport -x -a 'streamableHttp sse ws'
complete -c mcp-bridge -n __fish_use_subcommand -l session-timeout -r
complete -c mcp-bridge -n __fish_use_subcommand -l sessionTimeout -r
complete -c mcp-bridge -n __fish_use_subcommand -l stateful
complete -c mcp-bridge -n '__fish_seen_subcommand_from serve' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from serve' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from serve' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from serve' -l allow-root
complete -c mcp-bridge -n '__fish_seen_subcommand_from serve' -l log-format -x -a 'text json'
complete -c mcp-bridge -n '__fish_seen_subcommand_from init' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from init' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from init' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l url -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l env -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l env-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l pass-env -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l secret -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l cwd -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l share -x -a 'session client principal server'
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l sandbox -x -a 'basic landlock bwrap'
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l read -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l write -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l connect -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l no-network
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l transport -x -a 'auto http sse websocket'
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l header -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from add' -l secret-header -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from remove' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from remove' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from remove' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from enable' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from enable' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from enable' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from disable' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from disable' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from disable' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from edit' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from edit' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from edit' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from service' -a install
complete -c mcp-bridge -n '__fish_seen_subcommand_from service' -a uninstall
complete -c mcp-bridge -n '__fish_seen_subcommand_from service' -a status
complete -c mcp-bridge -n '__fish_seen_subcommand_from service' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from service' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from service' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from service' -l check-timer
complete -c mcp-bridge -n '__fish_seen_subcommand_from service' -l allow-root
complete -c mcp-bridge -n '__fish_seen_subcommand_from service' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from status' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from status' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from status' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from status' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from status' -l watch
complete -c mcp-bridge -n '__fish_seen_subcommand_from ps' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from ps' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from ps' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from ps' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from sessions' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from sessions' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from sessions' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from sessions' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -s f
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -l follow
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -s n -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -l lines -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -l since -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from logs' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from tap' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from tap' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from tap' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from tap' -l client -x -a 'claude-desktop claude-code cursor vscode copilot windsurf zed codex continue cline roo opencode gemini qwen crush kiro goose jetbrains lmstudio mcp-proxy'
complete -c mcp-bridge -n '__fish_seen_subcommand_from tap' -l method -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from tap' -l short
complete -c mcp-bridge -n '__fish_seen_subcommand_from tap' -l probes
complete -c mcp-bridge -n '__fish_seen_subcommand_from tap' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from tools' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from tools' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from tools' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from tools' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from call' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from call' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from call' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from call' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from call' -l output -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from call' -l log-level -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from prompts' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from prompts' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from prompts' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from prompts' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from prompt' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from prompt' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from prompt' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from prompt' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from prompt' -l log-level -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from resources' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from resources' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from resources' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from resources' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from read' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from read' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from read' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from read' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from read' -l output -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from read' -l log-level -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l token-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l as -x -a '(mcp-bridge __complete (commandline -opc)[2..] 2>/dev/null)'
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l header -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l header-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l transport -x -a 'auto http sse websocket'
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l ca-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l cert -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l key -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l proxy -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l client-id -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l client-secret-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l private-key-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l client-metadata-url -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l assertion-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l client-credentials
complete -c mcp-bridge -n '__fish_seen_subcommand_from connect' -l wait -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from restart' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from restart' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from restart' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from restart' -l all
complete -c mcp-bridge -n '__fish_seen_subcommand_from restart' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from reload' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from reload' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from reload' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from reload' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from env' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from env' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from env' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from env' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -a check
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -a show
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -a fmt
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -a import
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -a schema
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -l effective
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -l check
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -l all
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -l write -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -l client -x -a 'claude-desktop claude-code cursor vscode copilot windsurf zed codex continue cline roo opencode gemini qwen crush kiro goose jetbrains lmstudio mcp-proxy'
complete -c mcp-bridge -n '__fish_seen_subcommand_from config' -l project -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from rules' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from rules' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from rules' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from rules' -l explain -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from rules' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from approve' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from approve' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from approve' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from approve' -l definitions
complete -c mcp-bridge -n '__fish_seen_subcommand_from approve' -l yes
complete -c mcp-bridge -n '__fish_seen_subcommand_from approve' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -a new
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -a list
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -a revoke
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -a rotate
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -l servers -x -a '(mcp-bridge __complete (commandline -opc)[2..] 2>/dev/null)'
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -l aggregates -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -l expires -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -l read-only
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -l overlap -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from token' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from login' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from login' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from login' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from login' -l client-id -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from login' -l client-secret-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from login' -l private-key-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from login' -l client-metadata-url -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from login' -l assertion-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from login' -l client-credentials
complete -c mcp-bridge -n '__fish_seen_subcommand_from logout' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from logout' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from logout' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from logout' -l client-id -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from logout' -l client-secret-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from logout' -l private-key-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from logout' -l client-metadata-url -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from logout' -l assertion-file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from logout' -l client-credentials
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a claude
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a claude-desktop
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a claude-code
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a cursor
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a vscode
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a copilot
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a windsurf
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a zed
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a codex
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a continue
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a cline
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a roo
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a opencode
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a gemini
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a qwen
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a crush
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a kiro
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a goose
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a jetbrains
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a lmstudio
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -a mcp-proxy
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -l http
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -l write -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -l file -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -l token -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from client-config' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from admin' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from admin' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from admin' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from admin' -l open
complete -c mcp-bridge -n '__fish_seen_subcommand_from check' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from check' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from check' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from check' -l all
complete -c mcp-bridge -n '__fish_seen_subcommand_from check' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from doctor' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from doctor' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from doctor' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from doctor' -l checklist
complete -c mcp-bridge -n '__fish_seen_subcommand_from doctor' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from completion' -a bash
complete -c mcp-bridge -n '__fish_seen_subcommand_from completion' -a zsh
complete -c mcp-bridge -n '__fish_seen_subcommand_from completion' -a fish
complete -c mcp-bridge -n '__fish_seen_subcommand_from completion' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from completion' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from completion' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from help' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from help' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from help' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from version' -s h
complete -c mcp-bridge -n '__fish_seen_subcommand_from version' -l help
complete -c mcp-bridge -n '__fish_seen_subcommand_from version' -l config -r
complete -c mcp-bridge -n '__fish_seen_subcommand_from version' -l json
complete -c mcp-bridge -n '__fish_seen_subcommand_from remove enable disable logs tap tools call prompts prompt resources read connect restart env approve token login logout client-config check help' -a '(mcp-bridge __complete (commandline -opc)[2..] 2>/dev/null)'
