"""`art completion SHELL`: the script that lets a shell complete command lines of `art`."""

from __future__ import annotations

import click

from art_cli.syntax.completion import SHELLS, answer

_BASH = """\
# bash completion of art; put this into ~/.bashrc:  eval "$(art completion bash)"
_art() {
    local cur=${COMP_WORDS[COMP_CWORD]} kind line at
    local -a lines=()
    while IFS= read -r line; do lines+=("${line%%$'\\t'*}"); done < <(
        "$1" completion --answer --bash -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    kind=${lines[0]-}
    COMPREPLY=()
    case $cur in [=:]*) cur="" ;; esac
    case $kind in
        dirs) cur=${cur#*=}; compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
        files) cur=${cur#*=}; compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur") ;;
        command\\ *)
            at=$((${kind#command } + 1))
            if [[ $(type -t _comp_command_offset) == function ]]; then _comp_command_offset "$at"
            elif [[ $(type -t _command_offset) == function ]]; then _command_offset "$at"
            elif ((COMP_CWORD == at)); then mapfile -t COMPREPLY < <(compgen -c -- "$cur")
            else compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$cur"); fi ;;
    esac
    COMPREPLY+=("${lines[@]:1}")
}
complete -F _art art
"""

_ZSH = """\
#compdef art
# zsh completion of art; put this into ~/.zshrc:  eval "$(art completion zsh)"
_art() {
    local -a lines offered
    lines=("${(@f)$($words[1] completion --answer -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    local kind=$lines[1]
    offered=("${(@)${(@)lines[2,-1]//:/\\\\:}/$'\\t'/:}")
    case $kind in
        words) if [[ $words[CURRENT] == -* ]]; then _describe -o option offered
            else _describe value offered; fi ;;
        dirs) compset -P '*='; _files -/ ;;
        files) compset -P '*='; _files ;;
        command\\ *)
            (( ${#lines} > 1 )) && _describe subcommand offered
            shift $(( ${kind#command } + 1 )) words
            (( CURRENT -= ${kind#command } + 1 ))
            _normal ;;
    esac
}
if [[ $funcstack[1] == _art ]]; then _art "$@"; else compdef _art art; fi
"""

_FISH = """\
# fish completion of art; put this into ~/.config/fish/config.fish:  art completion fish | source
function __art_complete
    set -l tokens (commandline -opc) (commandline -ct)
    set -l lines ($tokens[1] completion --answer -- $tokens[2..] 2>/dev/null)
    set -l before (string match -r '^--?[a-z-]+=' -- $tokens[-1])
    set -l cur (string replace -r '^--?[a-z-]+=' '' -- $tokens[-1])
    switch "$lines[1]"
        case dirs
            printf '%s\\n' "$before"(__fish_complete_directories $cur)
        case files
            printf '%s\\n' "$before"(__fish_complete_path $cur)
        case 'command *'
            set -l at (math (string replace 'command ' '' -- $lines[1]) + 2)
            complete -C (string join ' ' -- (string escape -- $tokens[$at..-2]) $tokens[-1])
    end
    printf '%s\\n' $lines[2..]
end
complete -c art -f -a '(__art_complete)'
"""

_SCRIPTS = dict(zip(SHELLS, (_BASH, _ZSH, _FISH), strict=True))


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog='For bash, in ~/.bashrc: eval "$(art completion bash)"',
)
@click.option("--answer", "answering", is_flag=True, hidden=True)
@click.option("--bash", "split_at_breaks", is_flag=True, hidden=True)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="|".join(SHELLS))
@click.pass_context
def command(context: click.Context, answering: bool, split_at_breaks: bool, words: tuple[str, ...]) -> None:
    """Print the script that lets a shell complete the command lines of art."""
    if answering:
        click.echo(str(answer(words, split_at_breaks=split_at_breaks)), nl=False)
    elif len(words) != 1 or words[0] not in _SCRIPTS:
        raise click.UsageError(f"name one shell: {', '.join(SHELLS)}", context)
    else:
        click.echo(_SCRIPTS[words[0]], nl=False)
